"""Promotes and rollbacks over the admin API: asked for, followed, reported."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from registry.gates.certificate import EvaluationData, Finding, Party
from registry.gates.policy import Figure, Policy
from registry.names import parse_ref
from registry.swaps.infos import FINAL_STATES
from tests.support.admin_calls import Admin
from tests.support.stack import House, Stack, run_stack
from tests.support.waiting import DEADLINE_S, wait_until


@pytest.fixture
def stack(house: House) -> Iterator[Stack]:
    """acme/triage at 1.0, with 1.1 to go to."""
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_stack(house, engine_check_s=2 * DEADLINE_S) as stack:
        stack.wait_resident("acme/triage@1.0")
        yield stack


def at_its_end(admin: Admin, swap_id: int) -> Any:
    def final() -> Any:
        report = admin.get(f"/swaps/{swap_id}")
        return report if report["swap"]["state"] in FINAL_STATES else None

    return wait_until(f"swap {swap_id} to end", final)


def test_a_promote_is_accepted_at_once_begins_at_once_and_is_followed_to_its_report(admin: Admin, stack: Stack) -> None:
    assert [stack.chat("triage").json()["model"] for _ in range(3)] == ["acme/triage@1.0"] * 3
    began = time.monotonic()
    asked = admin.ask("POST", "/swaps", json={"version": "acme/triage@1.1", "reason": "better", "actor": "kim"})
    assert asked.status_code == 202
    swap = asked.json()
    assert (swap["adapter"], swap["alias"], swap["to_version"]) == ("acme/triage", "production", "acme/triage@1.1")
    report = at_its_end(admin, swap["id"])
    took_s = time.monotonic() - began
    assert took_s < DEADLINE_S, "the controller was woken: its round takes two minutes"
    assert report["swap"]["state"] == "done"
    assert stack.chat("triage").json()["model"] == "acme/triage@1.1"
    wait_until("usage to be shipped", lambda: len(stack.house.usage(tenant="acme")) == 4)
    report = admin.get(f"/swaps/{swap['id']}")
    counted = [(part["version"], part["attempts"], part["failed"]) for part in report["versions"]]
    assert counted == [("acme/triage@1.0", 3, 0), ("acme/triage@1.1", 1, 0)]
    assert sum(second["attempts"] for second in report["per_second"]) == 4
    (acknowledged,) = report["acknowledged"]
    assert acknowledged["worker"] == admin.get("/fleet")["workers"][0]["id"]
    assert 0 <= acknowledged["after_flip_s"] <= report["cutover_s"] < took_s
    assert (report["late_on_old"], report["left_on_old"], report["not_acknowledged_by"]) == (0, 0, [])
    assert report["preload_s"] > 0
    assert report["drain_s"] >= 0
    (move,) = (move for move in stack.house.registry.adapters.history(parse_ref("acme/triage")) if move.actor == "kim")
    assert move.reason == "better"


def test_a_rollback_goes_back_and_both_are_listed_newest_first(admin: Admin, stack: Stack) -> None:
    at_its_end(admin, admin.post("/swaps", version="acme/triage@1.1")["id"])
    (alias,) = admin.get("/adapters/acme/triage/aliases")["aliases"]
    assert (alias["back_to"], alias["why_not_back"]) == ("acme/triage@1.0", None)
    back = admin.post("/swaps/rollback", adapter="acme/triage")
    assert at_its_end(admin, back["id"])["swap"]["to_version"] == "acme/triage@1.0"
    assert stack.chat("triage").json()["model"] == "acme/triage@1.0"
    listed = admin.get("/swaps", adapter="acme/triage", limit=2)["swaps"]
    assert [swap["to_version"] for swap in listed] == ["acme/triage@1.0", "acme/triage@1.1"]


def test_a_ramp_begins_and_ends_a_split_and_is_reported_like_a_promote(admin: Admin, stack: Stack) -> None:
    asked = admin.ask("POST", "/swaps/ramp", json={"adapter": "acme/triage", "weights": {"1.0": 0, "1.1": 10_000}})
    assert asked.status_code == 202
    report = at_its_end(admin, asked.json()["id"])
    swap = report["swap"]
    assert (swap["kind"], swap["state"], swap["to_version"]) == ("ramp", "done", "acme/triage@1.0")
    assert [(arm["version"], arm["weight"]) for arm in swap["arms"]] == [
        ("acme/triage@1.0", 0),
        ("acme/triage@1.1", 10_000),
    ]
    assert stack.chat("triage").json()["model"] == "acme/triage@1.1"
    assert (report["late_on_old"], report["left_on_old"], len(report["acknowledged"])) == (None, None, 1)
    report = at_its_end(admin, admin.post("/swaps/ramp/end", adapter="acme/triage", reason="enough")["id"])
    assert report["swap"]["detail"]["ended_split"] == swap["detail"]["split"]
    assert stack.chat("triage").json()["model"] == "acme/triage@1.0"
    assert [one["kind"] for one in admin.get("/swaps")["swaps"]] == ["ramp", "ramp", "move"]


def test_what_cannot_be_swapped_is_refused_with_status_field_and_remedy(admin: Admin, stack: Stack) -> None:
    asked: list[tuple[str, dict[str, Any], int, str, str]] = [
        ("/swaps", {"version": "acme/triage@7.0"}, 404, "not_found", "there is no acme/triage@7.0"),
        ("/swaps", {"version": "acme/nothing@1.0"}, 404, "not_found", "there is no adapter"),
        ("/swaps", {"version": "acme/triage"}, 400, "invalid_input", "write acme/triage@1.1"),
        ("/swaps", {"version": "triage@1.1"}, 400, "invalid_input", "names no tenant"),
        ("/swaps", {"version": "acme/triage@1.1", "alias": "A B"}, 400, "invalid_input", "alias is 'A B'"),
        ("/swaps", {"alias": "production"}, 400, "invalid_request", "version is missing; give it. tenant/adapter@1.1"),
        ("/swaps/rollback", {"adapter": "acme/triage"}, 404, "not_found", "no earlier version"),
        ("/swaps/rollback", {"adapter": "acme/triage@1.0"}, 400, "invalid_input", "without an '@'"),
        (
            "/swaps/ramp",
            {"adapter": "acme/triage", "weights": {"1.0": 1}},
            400,
            "invalid_input",
            "that sum to 100 % (10000 in",
        ),
        ("/swaps/ramp", {"adapter": "acme/triage"}, 400, "invalid_request", "weights is missing; give it. Version →"),
        ("/swaps/ramp/end", {"adapter": "acme/triage"}, 404, "not_found", "acme/triage@production is not split"),
    ]
    for path, order, wanted, code, words in asked:
        status, error = admin.refused("POST", path, json=order)
        assert (status, error["code"]) == (wanted, code), order
        assert words in error["message"]
    assert admin.refused("GET", "/swaps/99")[1]["message"] == "there is no swap 99"
    for number in ("one", "0", str(2**63)):
        assert admin.refused("GET", f"/swaps/{number}")[1]["param"] == "swap_id"
    stack.faults(load_ms=300)
    first = admin.post("/swaps", version="acme/triage@1.1")
    ramp = {"adapter": "acme/triage", "weights": {"1.0": 5000, "1.1": 5000}}
    for path, order in (("/swaps", {"version": "acme/triage@1.1"}), ("/swaps/ramp", ramp)):
        status, error = admin.refused("POST", path, json=order)
        assert (status, error["code"]) == (409, "conflict")
    assert at_its_end(admin, first["id"])["swap"]["state"] == "done"


def test_an_alias_does_not_move_to_a_version_that_is_quarantined_while_it_is_brought_in(
    admin: Admin, stack: Stack
) -> None:
    stack.faults(load_ms=600)
    swap = admin.post("/swaps", version="acme/triage@1.1")
    admin.post("/quarantine", version="acme/triage@1.1", reason="wrong labels")
    report = at_its_end(admin, swap["id"])
    assert report["swap"]["state"] == "failed"
    assert re.fullmatch(r"acme/triage@1.1 (is|was) quarantined.*: wrong labels", report["swap"]["detail"]["error"])
    assert (report["cutover_s"], report["acknowledged"]) == (None, [])
    assert stack.chat("triage").json()["model"] == "acme/triage@1.0"


def test_a_gate_is_a_409_of_its_own_until_a_reason_is_given_to_pass_it(admin: Admin, stack: Stack) -> None:
    gates = stack.house.registry.gates
    gates.set(parse_ref("acme/triage"), Policy("label_exact"), actor="kim")
    assert [one["gate"] for one in admin.get("/adapters")["adapters"]] == ["in place", "none"]
    status, error = admin.refused("POST", "/swaps", json={"version": "acme/triage@1.1"})
    assert (status, error["code"], error["param"]) == (409, "gate_closed", "version")
    assert "`switchyard evaluate acme/triage@1.1 --against production --data FILE`" in error["message"]
    order = {"adapter": "acme/triage", "weights": {"1.0": 1_000, "1.1": 9_000}}
    assert admin.refused("POST", "/swaps/ramp", json=order)[1]["code"] == "gate_closed"
    ramp = admin.post("/swaps/ramp", **order, override="we watch it")
    assert at_its_end(admin, ramp["id"])["swap"]["detail"]["gate"] == {"override": "we watch it"}
    status, error = admin.refused("POST", "/swaps", json={"version": "acme/triage@1.1", "override": ""})
    assert (status, error["param"]) == (400, "override")
    swap = admin.post("/swaps", version="acme/triage@1.1", override="it cannot wait", actor="kim")
    assert at_its_end(admin, swap["id"])["swap"]["state"] == "done"
    newest = admin.get("/actions", limit=1)["actions"][0]
    assert (newest["action"], newest["actor"], newest["detail"]["reason"]) == (
        "gate.overridden",
        "kim",
        "it cannot wait",
    )


def test_a_gate_is_set_read_and_cleared_and_a_versions_certificates_are_shown(admin: Admin, stack: Stack) -> None:
    path = "/adapters/acme/triage"
    order = {"target": "label_exact", "better_by": 0.02, "guards": [{"metric": "loss", "margin": 0.1}], "actor": "kim"}
    answer = admin.ask("PUT", f"{path}/gates/production", json=order)
    assert answer.status_code == 200, answer.text
    assert admin.get(f"{path}/gates")["gates"] == [answer.json()]
    assert (answer.json()["policy"]["least_units"], answer.json()["actor"]) == (20, "kim")
    registry = stack.house.registry
    old, new = (registry.adapters.get(parse_ref(f"acme/triage@{number}")) for number in ("1.0", "1.1"))
    figures = (Figure("label_exact", 0.5, 0.8, 0.3, 0.1, 0.5), Figure("loss", 1.0, 0.9, 0.1, 0.0, 0.2))
    parties = Party(new.name, new.manifest_digest), Party(old.name, old.manifest_digest)
    data = EvaluationData("rows.jsonl", "sha256:" + "d" * 64, 40, 40)
    made = registry.gates.record(
        parse_ref(new.name), Finding(*parties, new.base_digest, data, figures, {}), actor="kim"
    )
    (shown,) = admin.get(f"{path}/certificates", version="1.1")["certificates"]
    assert (shown["digest"], shown["verdict"], shown["document"]) == (made.digest, "passed", made.document)
    assert [one["gate"] for one in admin.get("/adapters")["adapters"]] == ["in place", "passed"]
    for bad, param in (
        ({**order, "better_by": -1}, "better_by"),
        ({**order, "guards": [{"metric": "label_exact", "margin": 0}]}, "guard"),
        ({**order, "data": "heldout.jsonl"}, "data"),
        ({**order, "margin": 1}, "margin"),
    ):
        status, error = admin.refused("PUT", f"{path}/gates/production", json=bad)
        assert (status, error["param"]) == (400, param)
    assert admin.refused("GET", f"{path}/certificates", params={"version": "production"})[0] == 400
    assert admin.refused("GET", "/adapters/acme/nothing/gates")[0] == 404
    assert admin.ask("DELETE", f"{path}/gates/production", params={"actor": "kim"}).status_code == 200
    assert admin.refused("DELETE", f"{path}/gates/production")[0] == 404
