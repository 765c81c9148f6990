"""An experiment that a judge decides: pairs of answers become outcomes, one of each unit, and move traffic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from gateway.experiments.analyst import step
from gateway.experiments.deciding import Decider
from gateway.experiments.replay import Replay
from gateway.experiments.standing import Standing
from registry.db import now_ms
from registry.errors import InvalidInput
from registry.experiments.export import export, read_export
from registry.experiments.infos import ExperimentInfo
from registry.fleet.leadership import Lease
from registry.shadows.following import follow_experiments
from registry.shadows.judging import verdict_of
from registry.shadows.pair_store import Allowance, VerdictInfo
from registry.shadows.pairs import AnswerFigures, CopiedPair
from tests.support.cli_runner import Run, run
from tests.support.deciding_stack import begun as begun_on
from tests.support.deciding_stack import deciding_stack, pointed_at
from tests.support.experiment_parts import Traffic, begun, carried_out
from tests.support.judge_server import judge_server
from tests.support.stack import House, Stack
from tests.support.waiting import wait_until

__all__ = ["run"]
JUDGE = "fair-judge"
PLAN: dict[str, Any] = {
    "ramp": [{"percent": 10, "dwell_s": 0, "min_units": 0}, {"percent": 100, "dwell_s": 0, "min_units": 0}],
    "metric": {"name": "judge_win", "window_s": 0},
    "guardrails": [],
    "shadow": {"percent": 100.0, "judge": JUDGE},
}
PLENTY = Allowance(days=7, pairs=10_000, bytes=1 << 20)
WIN, LOSS, TURNS = ("candidate", "candidate"), ("control", "control"), ("candidate", "control")


class Judged:
    """Units of the control, each with pairs that a judge has compared. No gateway runs."""

    def __init__(self, traffic: Traffic, lease: Lease, shadow_id: int) -> None:
        self.traffic = traffic
        self.registry = traffic.registry
        self.lease = lease
        self.shadow_id = shadow_id

    def say(self, *words: tuple[str, str], unit: str | None = None, judge: str = JUDGE) -> None:
        """A pair each, of a unit each unless one is named: whom the judge preferred with the candidate first, and with
        the control first.
        """
        for candidate_first, control_first in words:
            name = unit or f"unit {self.traffic.number}"
            (row,) = self.traffic.book(self.traffic.row(name, "1.0"))
            side = AnswerFigures("acme/triage@1.0", "ok", "http://127.0.0.1:1", 0)
            pair = CopiedPair(self.shadow_id, row["request_id"], "acme", now_ms(), "chat", None, side, side, None, None)
            self.registry.pairs.record([pair], {}, PLENTY)
            said = verdict_of(
                judge,
                candidate_first={"candidate": "A", "control": "B"}.get(candidate_first, "tie"),  # type: ignore[arg-type]
                control_first={"candidate": "B", "control": "A"}.get(control_first, "tie"),  # type: ignore[arg-type]
            )
            self.registry.pairs.judged(self.shadow_id, row["request_id"], said)

    def look(self) -> ExperimentInfo:
        """As the leader does it, often enough that what is new is taken in."""
        for _ in range(3):
            step(self.registry.experiments.analysis, self.traffic.info.id, self.lease.token, 0)
            Decider(self.registry, self.lease.token).decide(self.traffic.info.id)
            self.traffic.info = carried_out(self.registry, self.traffic.info.id)
        return self.traffic.info

    def told(self) -> str:
        """What is known of the treatment."""
        written = self.look().standing
        assert written is not None
        return Standing.of(written["standing"]).primary["1.1"].text


@pytest.fixture
def judged(house: House) -> Judged:
    """Of an experiment that runs, and copies requests."""
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.registry.tenants.change("acme", {"shadow_consent": True})
    info = begun(house.registry, **PLAN)
    assert follow_experiments(house.registry.db) == {}
    (shadow,) = house.registry.shadows.page(None, None, None)
    lease = house.registry.leadership.acquire("test", "here")
    assert lease is not None
    return Judged(Traffic(house.registry, info), lease, shadow.id)


def test_a_treatment_that_wins_its_pairs_is_promoted_and_the_log_is_made_again(judged: Judged) -> None:
    judged.say(*[WIN] * 40, *[LOSS] * 5, *[TURNS] * 7)
    info = judged.look()
    assert info.state == "promoted"
    last = judged.registry.experiments.decisions(info.id)[-1]
    assert (last.kind, last.actor) == ("promote", "controller")
    assert "40 won, 5 lost, 7 ties; the answer shown first was preferred in 57 %" in last.reason
    assert "1.1 wins" in last.reason
    found = read_export(json.dumps(line) for line in export(judged.registry.db, str(info.id)))
    replayed = list(Replay(found.plan, found.shares, found.units).run(found.log))
    assert replayed
    assert all(not one.differences for one in replayed)


def test_one_that_loses_them_is_rolled_back(judged: Judged) -> None:
    judged.say(*[LOSS] * 40, *[WIN] * 5)
    info = judged.look()
    assert info.state == "rolled_back"
    assert judged.registry.experiments.decisions(info.id)[-1].figures["code"] == "worse"


def test_a_judge_that_looks_at_the_place_names_nobody_and_that_is_seen(judged: Judged) -> None:
    judged.say(*[TURNS] * 60)
    assert (
        judged.told()
        == "no pair of 1.1 is decided yet (0 won, 0 lost, 60 ties; the answer shown first was preferred in 100 %)"
    )
    assert judged.traffic.info.state == "running"


def test_a_unit_counts_once_and_no_other_judges_words_do(judged: Judged) -> None:
    judged.say(*[WIN] * 40, unit="one conversation")
    judged.say(*[WIN] * 40, judge="another-judge")
    assert "(1 won, 0 lost, 0 ties" not in judged.told()
    assert "; 1 won, 0 lost, 0 ties" in judged.told()
    judged.say(WIN)
    assert "; 2 won, 0 lost, 0 ties" in judged.told()


def test_words_that_cannot_be_read_and_requests_of_nobody_in_it_count_for_nothing(judged: Judged) -> None:
    judged.say(WIN)
    (row,) = judged.traffic.book(judged.traffic.row("unit x", "1.0"))
    side = AnswerFigures("acme/triage@1.0", "ok", "http://127.0.0.1:1", 0)
    for request_id in (row["request_id"], "of-nobody"):
        pair = CopiedPair(judged.shadow_id, request_id, "acme", now_ms(), "chat", None, side, side, None, None)
        judged.registry.pairs.record([pair], {}, PLENTY)
    judged.registry.pairs.judged(
        judged.shadow_id, row["request_id"], VerdictInfo(JUDGE, "unreadable", "tie", "unreadable")
    )
    judged.registry.pairs.judged(judged.shadow_id, "of-nobody", VerdictInfo(JUDGE, *WIN, "candidate"))
    assert "; 1 won, 0 lost, 0 ties" in judged.told()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shadow": None}, 'add [shadow] with judge = "MODEL"'),
        ({"shadow": {"percent": 10.0}}, 'add [shadow] with judge = "MODEL"'),
        ({"treatments": ["1.1", "1.2"]}, "copies go to one treatment alone"),
        ({"metric": {"name": "judge_win", "direction": "lower"}}, 'say "higher" for judge_win'),
        ({"metric": {"name": "judge_win", "margin": 0.5}}, "write less than 0.5"),
        ({"guardrails": [{"metric": "judge_win", "margin": 0.1}]}, "make it the primary metric"),
    ],
)
def test_a_plan_that_no_judge_could_decide_is_refused(house: House, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        begun(house.registry, **{**PLAN, **changes})
    assert says in refused.value.message


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with deciding_stack(tmp_path_factory.mktemp("by-judge")) as stack:
        stack.house.registry.tenants.change("acme", {"shadow_consent": True})
        yield stack


def test_copies_of_real_requests_are_judged_by_command_and_promote(
    stack: Stack, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(stack.house.settings.state_dir))
    registry, numbers = stack.house.registry, count()
    info = begun_on(stack, {**PLAN, "unit": "request"})
    shadow = wait_until("the shadow", lambda: next(iter(registry.shadows.page(None, None, None)), None))
    stack.wait_resident("acme/triage@1.1")

    def prefers_the_candidate(prompt: str) -> str:
        liked = {
            pair.content.candidate.text.strip()
            for pair in registry.pairs.page(shadow.id, None, 500, with_content=True)
            if pair.content
        }
        first = prompt.partition("<assistant A>\n")[2].partition("\n</assistant A>")[0]
        return json.dumps({"better": "A" if first in liked else "B"})

    with judge_server(prefers_the_candidate) as url:

        def asked_and_judged() -> ExperimentInfo | None:
            for _ in range(10):
                stack.chat("acme/triage", messages=[{"role": "user", "content": f"{next(numbers)}"}]).raise_for_status()
            done = run("experiments", "judge", shadow.id, "--judge-url", f"{url}/v1", "--url", stack.url, "--json")
            assert done.status == 0, done.err
            found = registry.experiments.get(info.id)
            return found if found.ended_at_ms is not None and not found.moving else None

        decided = wait_until("a decision", asked_and_judged)
    assert decided.state == "promoted"
    assert pointed_at(stack) == "1.1"
