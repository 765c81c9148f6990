"""Experiments over the admin API: begun, followed, decided on by hand, listed by pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.admin_calls import Admin
from tests.support.stack import Stack, open_house, run_stack
from tests.support.waiting import wait_until

ONE: dict[str, Any] = {"adapter": "acme/triage", "plan": {"treatments": ["1.1"]}}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """acme/triage at 1.0, with 1.1 to try."""
    with open_house(tmp_path_factory.mktemp("admin-experiments")) as house:
        house.tenant("acme")
        for _ in range(2):
            house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house) as stack:
            yield stack


def settled(admin: Admin, experiment_id: int) -> Any:
    """The experiment when its last decision is in force."""

    def still() -> Any:
        found = admin.get(f"/experiments/{experiment_id}")
        return None if found["moving"] else found

    return wait_until(f"experiment {experiment_id} to settle", still)


@pytest.fixture
def running(admin: Admin) -> Iterator[Any]:
    """An experiment whose first step is in force; it is stopped with the test, if it still runs."""
    made = admin.post("/experiments", **ONE, actor="kim")
    yield settled(admin, made["id"])
    if settled(admin, made["id"])["ended_at_ms"] is None:
        admin.post(f"/experiments/{made['id']}/stop")
    settled(admin, made["id"])


def test_an_experiment_is_accepted_at_once_and_runs_when_its_first_step_routes(admin: Admin, running: Any) -> None:
    assert (running["state"], running["weights"], running["actor"]) == ("running", {"1.0": 9900, "1.1": 100}, "kim")
    assert (running["plan"]["control"], [arm["name"] for arm in running["arms"]]) == ("1.0", ["1.0", "1.1"])
    swap = admin.get(f"/swaps/{running['swap_id']}")["swap"]
    assert (swap["state"], swap["detail"]["experiment"]["id"]) == ("done", running["id"])
    refused = admin.refused("POST", "/swaps", json={"version": "acme/triage@1.1"})
    assert (refused[0], refused[1]["param"]) == (409, "alias")
    assert "decides on its traffic" in refused[1]["message"]
    again = admin.refused("POST", "/experiments", json=ONE)
    assert (again[0], "decides on its traffic" in again[1]["message"]) == (409, True)


def test_a_decision_by_hand_is_taken_on_what_was_seen(admin: Admin, running: Any) -> None:
    path = f"/experiments/{running['id']}"
    answer = admin.ask("GET", path)
    assert answer.headers["etag"] == f'"{running["etag"]}"'
    paused = admin.post(f"{path}/pause", reason="lunch", actor="kim")
    assert (paused["kind"], paused["to_state"], paused["reason"], paused["swap_id"]) == (
        "pause",
        "paused",
        "lunch",
        None,
    )
    stale = admin.http.post(
        f"{admin.url}/admin/v1{path}/resume",
        json={},
        headers={"Authorization": answer.request.headers["authorization"], "If-Match": answer.headers["etag"]},
    )
    assert stale.status_code == 412
    now = admin.get(path)
    assert now["state"] == "paused"
    assert admin.refused("POST", f"{path}/pause", json={})[0] == 409
    admin.post(f"{path}/resume")
    promoted = admin.post(f"{path}/promote", reason="good")
    assert settled(admin, running["id"])["state"] == "promoted"
    log = admin.get(f"{path}/decisions")
    assert [line["kind"] for line in log["decisions"]] == ["start", "pause", "resume", "promote"]
    assert (log["faults"], log["next"], log["decisions"][-1]) == ([], None, promoted)
    page = admin.get(f"{path}/decisions", after="2", limit=1)
    assert ([line["seq"] for line in page["decisions"]], page["next"]) == ([3], "3")
    swap = admin.post("/swaps", version="acme/triage@1.0")
    wait_until("the alias is back", lambda: admin.get(f"/swaps/{swap['id']}")["swap"]["state"] == "done")


def test_a_draft_is_named_listed_by_pages_and_given_up(admin: Admin) -> None:
    made = [admin.post("/experiments", **ONE, name=f"try-{number}", draft=True)["id"] for number in range(3)]
    first = admin.get("/experiments", adapter="acme/triage", limit=2)
    second = admin.get("/experiments", tenant="acme", limit=2, after=first["next"])
    assert [one["id"] for one in [*first["experiments"], *second["experiments"][:1]]] == made[::-1]
    assert admin.get("/experiments", tenant="globex") == {"experiments": [], "next": None}
    for one in made:
        admin.post(f"/experiments/{one}/stop", reason="given up")
    assert admin.get(f"/experiments/{made[0]}")["state"] == "stopped"
    assert admin.get("/experiments", not_ended=True)["experiments"] == []


def test_a_preview_says_what_would_be_done_and_does_nothing(admin: Admin) -> None:
    before = admin.get("/experiments")
    found = admin.post("/experiments/preview", **ONE)
    assert found["plan"]["control"] == "1.0"
    assert found["words"][0] == "1.1 against 1.0, for the traffic of acme/triage@production"
    assert admin.get("/experiments") == before


def test_an_outlook_says_what_is_known_and_what_comes_next(admin: Admin, running: Any) -> None:
    path = f"/experiments/{running['id']}/outlook"
    found = wait_until("the first look", lambda: admin.get(path) if admin.get(path)["move"] else None)
    assert [arm["name"] for arm in found["arms"]] == ["1.0", "1.1"]
    assert (found["arms"][1]["share"], found["arms"][1]["units"]) == (100, 0)
    assert "too few units yet to compare 1.1" in found["findings"][0]
    assert (found["move"]["kind"], found["move"]["code"]) == ("hold", "dwells")
    assert found["following"].startswith("next: hold: step 1 of 5 lasts a while longer")
    sequence = found["sequence"]
    assert (sequence["metric"], sequence["unit"], sequence["margin"]) == ("errors", "points", 0.02)
    assert all(look["low"] is None for look in sequence["looks"]["1.1"]), "nothing is said of too few units"


@pytest.mark.starts_anew
def test_a_plan_is_simulated_in_a_child_and_nothing_is_begun(admin: Admin) -> None:
    order = {**ONE, "plan": {"treatments": ["1.1"], "budget": {"units": 2_000}}, "units_a_day": 500.0, "runs": 10}
    before = admin.get("/experiments")
    found = admin.post("/experiments/simulate", **order)
    assert set(found["runs"]) == {"is no different", "fails 20% more of its requests"}
    assert found["runs"]["fails 20% more of its requests"]["harmed"] > found["runs"]["is no different"]["harmed"]
    assert (found["units_a_day"], found["counted"], found["left_out"]) == (500.0, "unit", ["latency_p95"])
    assert admin.get("/experiments") == before
    status, error = admin.refused("POST", "/experiments/simulate", json={**order, "units_a_day": None})
    assert (status, error["param"]) == (400, "units_a_day")


@pytest.mark.parametrize(
    ("method", "path", "order", "status", "says"),
    [
        ("POST", "/experiments", {**ONE, "plan": {}}, 400, "treatments is missing"),
        ("POST", "/experiments", {**ONE, "plan": {"treatments": ["1.1"], "alpha": 2}}, 400, "alpha is 2"),
        ("POST", "/experiments", {**ONE, "adapter": "acme/none"}, 404, "there is no adapter 'acme/none'"),
        ("POST", "/experiments", {**ONE, "adapter": "acme/triage@1.0"}, 400, "write tenant/adapter alone"),
        ("POST", "/experiments", {**ONE, "name": "No Name"}, 400, "name is 'No Name'"),
        ("POST", "/experiments", {**ONE, "colour": "red"}, 400, "colour"),
        ("GET", "/experiments/999", None, 404, "there is no experiment '999'"),
        ("GET", "/experiments/999/decisions", None, 404, "there is no experiment '999'"),
        ("POST", "/experiments/999/stop", {}, 404, "there is no experiment '999'"),
        ("POST", "/experiments/1/explode", {}, 400, "action"),
        ("GET", "/experiments?after=x", None, 400, "after is 'x'"),
    ],
)
def test_what_cannot_be_is_refused(
    admin: Admin, method: str, path: str, order: dict[str, Any] | None, status: int, says: str
) -> None:
    found, error = admin.refused(method, path, json=order) if order is not None else admin.refused(method, path)
    assert (found, says in error["message"]) == (status, True), error
