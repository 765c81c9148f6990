"""What follows from where an experiment stands: a table of plans, standings and clocks, without a database."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.experiments.decisions import Course, Move, decide, figures
from gateway.experiments.inference.values import Interval
from gateway.experiments.inference.verdicts import Measure, Verdict, guardrail, missingness, verdict
from gateway.experiments.standing import Broken, Cursor, Standing
from registry.days import DAY_MS
from registry.experiments.plan import Plan

QUALITY = Measure("accepted", "points")
NOW = 1_000_000_000
PLAN: dict[str, Any] = {
    "treatments": ["1.1"],
    "control": "1.0",
    "ramp": [
        {"percent": 5, "dwell_s": 60, "min_units": 50},
        {"percent": 50, "dwell_s": 60, "min_units": 50},
        {"percent": 100, "dwell_s": 60, "min_units": 0},
    ],
    "metric": {"name": "accepted", "direction": "higher", "margin": 0.01},
    "guardrails": [{"metric": "errors", "margin": 0.02}],
}


def plan(**changes: Any) -> Plan:
    return Plan.of({**PLAN, **changes})


def quality(low: float, high: float) -> dict[str, Verdict]:
    return {"1.1": verdict(Interval((low + high) / 2, low, high), QUALITY, 0.05, "1.1")}


def errors(low: float, high: float) -> dict[str, dict[str, Verdict]]:
    measure = Measure("errors", "points", higher_is_better=False, margin=0.02)
    return {"errors": {"1.1": guardrail(Interval((low + high) / 2, low, high), measure, 0.05, "1.1")}}


INFINITE = float("inf")
UNKNOWN = Standing(
    cursor=Cursor(1_000, 3, 900),
    digest="sha256:1",
    units={"1.0": 950, "1.1": 50},
    on_split={"7": 50},
    breakers={"1.1": Broken(0.1, 1, 2, open=False)},
    primary=quality(-INFINITE, INFINITE),
    guardrails=errors(-INFINITE, INFINITE),
)
WON = replace(UNKNOWN, primary=quality(0.021, 0.054), guardrails=errors(-0.01, 0.01))


def course(**changes: Any) -> Course:
    begun = {"step": 0, "stepped_at_ms": NOW - 61_000, "started_at_ms": NOW - 61_000, "split": 7}
    return Course(**{**begun, **changes})


def test_a_step_that_has_lasted_and_seen_enough_is_followed_by_the_next() -> None:
    move = decide(plan(), UNKNOWN, course(), NOW)
    assert (move.kind, move.code) == ("ramp", "ramp")
    assert "1.1 gets 50 %" in move.reason


def test_a_step_lasts_its_time() -> None:
    began = NOW - 59_000
    move = decide(plan(), UNKNOWN, course(stepped_at_ms=began), NOW)
    assert (move.kind, move.code, move.next_at_ms) == ("hold", "dwells", began + 60_000)


def test_a_step_waits_for_units_that_are_new_on_its_own_split() -> None:
    standing = replace(UNKNOWN, on_split={"6": 900, "7": 49})
    move = decide(plan(), standing, course(), NOW)
    assert (move.kind, move.code) == ("hold", "units")
    assert "waits for 1 more unit on 1.1 at 5 %" in move.reason


def test_only_a_winner_gets_all_of_the_traffic() -> None:
    at_half = course(step=1)
    assert decide(plan(), UNKNOWN, at_half, NOW).code == "undecided"
    assert decide(plan(), WON, at_half, NOW).kind == "ramp"
    assert decide(plan(), WON, course(step=2), NOW).kind == "promote"


def test_a_person_is_asked_before_the_last_step_where_the_policy_says_so() -> None:
    move = decide(plan(on_win="ask"), WON, course(step=1), NOW)
    assert (move.kind, move.arm) == ("ask", "1.1")
    assert "1.1 is better by 2.1 to 5.4 points (95 %, any time)" in move.reason


def test_a_treatment_that_is_a_little_worse_wins_within_its_margin_and_loses_beyond_it() -> None:
    assert decide(plan(), replace(WON, primary=quality(-0.009, -0.001)), course(step=2), NOW).kind == "promote"
    move = decide(plan(), replace(WON, primary=quality(-0.05, -0.011)), course(), NOW)
    assert (move.kind, move.code) == ("rollback", "worse")


def test_lower_may_be_better() -> None:
    fewer = plan(metric={"name": "errors", "margin": 0.0}, guardrails=[])
    better = verdict(Interval(-0.02, -0.03, -0.01), Measure("errors", higher_is_better=False), 0.05, "1.1")
    assert decide(fewer, Standing(primary={"1.1": better}), course(step=2), NOW).kind == "promote"


def test_a_winner_whose_guardrail_is_not_certain_yet_waits_and_says_for_what() -> None:
    move = decide(plan(), replace(WON, guardrails=errors(-0.01, 0.03)), course(step=1), NOW)
    assert (move.kind, move.code) == ("hold", "undecided")
    assert "no harm is certain" in move.reason


def test_a_winner_of_whom_feedback_is_missing_more_often_does_not_win() -> None:
    missing = {"accepted": {"1.1": missingness(Interval(0.1, 0.05, 0.15), 0.05, "accepted", "1.1")}}
    move = decide(plan(), replace(WON, missing=missing), course(step=1), NOW)
    assert (move.kind, move.code) == ("alarm", "undecided, accepted is missing")
    assert "missing more often" in move.reason


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        ({"breakers": {"1.1": Broken(12.0, 9, 2, open=True)}}, "broken"),
        ({"ratio_alarms": True}, "mismatch"),
        ({"guardrails": errors(0.03, 0.09)}, "guardrail"),
    ],
)
def test_harm_ends_it_at_once_whatever_else_is_known(harm: dict[str, Any], code: str) -> None:
    fresh = course(stepped_at_ms=NOW, started_at_ms=NOW)
    move = decide(plan(), replace(WON, **harm), fresh, NOW)
    assert (move.kind, move.code) == ("rollback", code)
    assert decide(plan(on_harm="pause"), replace(WON, **harm), fresh, NOW).kind == "pause"


def test_of_what_is_held_for_a_person_only_a_broken_candidate_is_taken_out() -> None:
    held = course(held=True)
    assert decide(plan(), replace(WON, ratio_alarms=True), held, NOW).code == "held"
    broken = replace(WON, breakers={"1.1": Broken(12.0, 9, 2, open=True)})
    assert decide(plan(), broken, held, NOW).kind == "rollback"


def test_the_words_of_a_broken_candidate_name_both_arms() -> None:
    move = decide(plan(), replace(UNKNOWN, breakers={"1.1": Broken(12.0, 9, 2, open=True)}), course(), NOW)
    assert move.reason == "1.1 failed 9 units while 1.0 failed 2: by its part of the traffic that is no chance"


@pytest.mark.parametrize(
    ("budget", "used", "word"),
    [
        ({"days": 1.0}, {"started_at_ms": NOW - DAY_MS}, "1 days are over"),
        ({"units": 1_000}, {}, "1000 units have been in it"),
        ({"dollars": 2.5}, {"spent_nano": 2_500_000_000}, "it has cost 2.50 dollars"),
    ],
)
def test_a_budget_that_is_used_up_leaves_it_inconclusive(
    budget: dict[str, Any], used: dict[str, Any], word: str
) -> None:
    move = decide(plan(budget=budget), UNKNOWN, course(**used), NOW)
    assert (move.kind, move.code) == ("inconclusive", "spent")
    assert word in move.reason
    assert decide(plan(budget=budget), WON, course(**used), NOW).kind == "promote", "what was won stays won"


def test_a_closed_gate_asks_a_person() -> None:
    move = decide(plan(), WON, course(step=2, gate="1.1 has no certificate"), NOW)
    assert (move.kind, move.code) == ("ask", "gate")
    assert "1.1 has no certificate" in move.reason


def test_what_could_not_be_carried_out_is_tried_again_later_and_a_third_failure_is_harm() -> None:
    failed = "swap 3 of the ramp failed: no healthy engine"
    soon = decide(plan(), UNKNOWN, course(failures=1, failed_at_ms=NOW - 1_000, failed=failed), NOW)
    assert (soon.kind, soon.code) == ("hold", "retries")
    assert decide(plan(), UNKNOWN, course(failures=1, failed_at_ms=NOW - 31_000, failed=failed), NOW).kind == "ramp"
    third = decide(plan(), UNKNOWN, course(failures=3, failed_at_ms=NOW - 31_000, failed=failed), NOW)
    assert (third.kind, third.code) == ("rollback", "cannot load")


def test_harm_that_cannot_be_averted_is_tried_again_more_and_more_seldom() -> None:
    broken = replace(UNKNOWN, breakers={"1.1": Broken(12.0, 30, 1, open=True)})

    def pause_s(failures: int) -> float:
        made = decide(plan(), broken, course(failures=failures, failed_at_ms=NOW, failed="no engine"), NOW)
        assert made.next_at_ms is not None
        return (made.next_at_ms - NOW) / 1000

    assert [pause_s(failures) for failures in (1, 3, 4, 5, 8, 10)] == [5, 5, 10, 20, 160, 160]


def test_a_quarantined_treatment_is_harm_and_a_quarantined_control_a_question() -> None:
    treatment = decide(plan(), WON, course(quarantined={"1.1": "it swears"}), NOW)
    assert (treatment.kind, treatment.code, treatment.arm) == ("rollback", "quarantined", "1.1")
    assert treatment.reason == "1.1 is quarantined, so no engine may have it: it swears"
    assert decide(plan(on_harm="pause"), WON, course(quarantined={"1.1": "it swears"}), NOW).kind == "pause"
    broken = replace(UNKNOWN, breakers={"1.1": Broken(12.0, 30, 1, open=True)})
    for standing in (WON, broken):
        control = decide(plan(), standing, course(quarantined={"1.0": "it swears"}), NOW)
        assert (control.kind, control.code) == ("ask", "quarantined")
    held = decide(plan(), broken, course(held=True, quarantined={"1.0": "it swears"}), NOW)
    assert held.kind == "hold", "nothing can be rolled back to it"


def test_the_best_of_several_winners_wins() -> None:
    both = plan(treatments=["1.1", "1.2"])
    primary = {**quality(0.02, 0.05), "1.2": verdict(Interval(0.04, 0.03, 0.05), QUALITY, 0.05, "1.2")}
    harmless = errors(-0.01, 0.01)["errors"]
    standing = replace(WON, primary=primary, guardrails={"errors": {**harmless, "1.2": harmless["1.1"]}})
    assert decide(both, standing, course(step=2), NOW).arm == "1.2"


def test_one_unit_that_is_much_of_the_traffic_is_an_alarm_and_no_decision() -> None:
    move = decide(plan(), UNKNOWN, course(stepped_at_ms=NOW, skew="one unit is 40 % of the requests"), NOW)
    assert (move.kind, move.code) == ("alarm", "dwells, one unit is too much")


def test_figures_of_a_decision_read_back_from_json_make_it_again() -> None:
    at = course(step=1)
    move = decide(plan(), WON, at, NOW)
    logged = json.loads(json.dumps(figures(WON, at, NOW, move), allow_nan=False))
    again = decide(plan(), Standing.of(logged["standing"]), Course(**logged["course"]), logged["clock_ms"])
    assert again == move == Move("ramp", "ramp", move.reason)
