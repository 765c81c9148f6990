"""Shadows from the command line and the admin API: begun, seen, judged, ended."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial

import pytest

from tests.support.admin_calls import Admin
from tests.support.cli_runner import Run, run
from tests.support.judge_server import judge_server
from tests.support.stack import Stack, open_house, run_stack
from tests.support.waiting import wait_until

__all__ = ["run"]
LONGER = re.compile(r"<assistant A>\n(.*?)\n</assistant A>\n<assistant B>\n(.*?)\n</assistant B>", re.DOTALL)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with open_house(tmp_path_factory.mktemp("shadow-commands")) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house) as stack:
            yield stack


@pytest.fixture
def command(stack: Stack, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Commands on the stack's own state folder."""
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(stack.house.settings.state_dir))
    return run


def paired(stack: Stack, shadow_id: int, count: int) -> None:
    """So many requests have been copied."""
    stack.wait_revision()
    stack.wait_resident("acme/triage@1.1")
    shadows = stack.house.registry.shadows

    def shown(number: int) -> bool:
        return shadows.get(shadow_id).paired > number

    for number in range(count):
        assert stack.chat("acme/triage", stream=True, seed=number).status_code == 200
        wait_until("the pair", partial(shown, number))


def test_a_shadow_needs_consent_and_is_begun_seen_and_ended_by_commands(stack: Stack, command: Run) -> None:
    refused = command("experiments", "shadow", "acme/triage", "1.1")
    assert refused.status == 1
    assert "switchyard tenants set acme --shadow-consent" in refused.err
    told = command("tenants", "set", "acme", "--shadow-consent", "--pair-days", "3")
    assert "may be copied to candidates, whose texts are kept 3 days" in told.out
    begun = command("experiments", "shadow", "acme/triage", "1.1", "--share", "1", "--for", "90m", "--json").document
    assert (begun["share"], begun["candidate"], begun["requests_per_day"]) == (10_000, "acme/triage@1.1", 10_000)
    shadow_id = begun["id"]
    paired(stack, shadow_id, 3)
    listed = command("experiments", "shadows", "acme/triage")
    assert "acme/triage@1.1" in listed.out
    shown = command("experiments", "pairs", shadow_id, "--show", "2")
    assert "3 pairs, 3 of them stored; times are of 3 on one engine" in shown.out
    assert "My parcel is late." in shown.out
    assert shown.out.count("candidate  ") >= 2
    document = command("experiments", "pairs", shadow_id, "--show", "1", "--json").document
    assert document["summary"]["pairs"] == 3
    assert document["summary"]["candidate"]["ttft_p95_ms"] > 0
    assert document["shown"][0]["content"]["control"]["text"]
    ended = command("experiments", "shadow-stop", shadow_id, "--reason", "seen enough")
    assert f"shadow {shadow_id} has ended: seen enough" in ended.out
    assert "seen enough" in command("experiments", "shadows").out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--for", "soon"), "for is 'soon'; expected a number and s, m, h or d"),
        (("--share", "2"), "share is 2; expected 0.0001 to 1"),
        (("--budget", "5"), "tariff add adapter:acme/triage"),
        (("--alias", "canary"), "no alias 'canary'"),
    ],
)
def test_what_cannot_be_is_refused_with_what_helps(
    stack: Stack, command: Run, options: tuple[str, str], says: str
) -> None:
    command("tenants", "set", "acme", "--shadow-consent")
    refused = command("experiments", "shadow", "acme/triage", "1.1", *options)
    assert refused.status == 1
    assert says in refused.err


def test_a_judge_is_asked_in_both_orders_and_one_that_looks_at_the_place_names_nobody(
    stack: Stack, command: Run
) -> None:
    stack.house.registry.tenants.change("acme", {"shadow_consent": True, "pair_days": None})
    begun = command("experiments", "shadow", "acme/triage", "1.1", "--share", "1", "--json").document
    paired(stack, begun["id"], 3)

    def longer(prompt: str) -> str:
        first, second = (len(text) for text in LONGER.findall(prompt)[0])
        return json.dumps({"better": "tie" if first == second else "A" if first > second else "B"})

    def first(_prompt: str) -> str:
        return json.dumps({"better": "A"})

    for name, say in (("likes-long", longer), ("likes-first", first)):
        with judge_server(say) as url:
            judged = command(
                "experiments", "judge", begun["id"], "--judge", name, "--judge-url", f"{url}/v1", "--url", stack.url,
                "--json",
            )  # fmt: skip
            assert judged.status == 0, judged.err
    figures = {one["judge"]: one for one in judged.document["judges"]}
    biased = figures["likes-first"]
    assert (biased["candidate"], biased["control"], biased["unreadable"]) == (0, 0, 0)
    assert biased["ties"] == 3
    assert biased["first_preferred"] in (1.0, None), "answers that are the same are a tie unasked"
    fair = figures["likes-long"]
    assert fair["candidate"] + fair["control"] + fair["ties"] == 3
    assert fair["turned"] == 0
    again = command("experiments", "judge", begun["id"], "--judge", "likes-first", "--url", stack.url, "--json")
    assert again.document["judged"] == 0
    command("experiments", "shadow-stop", begun["id"])


def test_the_admin_api_has_the_same(stack: Stack, admin: Admin) -> None:
    changed = admin.ask("PATCH", "/tenants/acme", json={"shadow_consent": True})
    assert changed.json()["shadow_consent"] is True
    begun = admin.post("/shadows", version="acme/triage@1.1", share=10_000, lasts_s=600)
    assert begun["in_force"]
    paired(stack, begun["id"], 2)
    assert admin.get(f"/shadows/{begun['id']}")["counts"] == {"paired": 2}
    assert [one["id"] for one in admin.get("/shadows", adapter="acme/triage", limit=1)["shadows"]] == [begun["id"]]
    first = admin.get(f"/shadows/{begun['id']}/pairs", limit=1, texts=True)
    assert first["pairs"][0]["content"]["candidate"]["text"]
    rest = admin.get(f"/shadows/{begun['id']}/pairs", after=first["next"])
    assert [one["content"] for one in rest["pairs"]] == [None]
    assert rest["next"] is None
    assert admin.get(f"/shadows/{begun['id']}/summary")["summary"]["pairs"] == 2
    ended = admin.post(f"/shadows/{begun['id']}/stop", reason="done")
    assert (ended["ended_why"], ended["in_force"]) == ("done", True)
    assert admin.refused("GET", "/shadows/999/pairs")[0] == 404
    assert admin.refused("POST", "/shadows", json={"version": "acme/triage", "share": 1, "lasts_s": 1})[0] == 400
