"""Feedback that is yes or no is told in points; numbers are told as they are."""

from __future__ import annotations

import json

import pytest

from gateway.experiments.comparing import Comparisons
from gateway.experiments.inference.values import Interval
from registry.experiments.metrics import yes_or_no
from registry.experiments.plan import Plan
from registry.experiments.valuing import SaidOfUnit, of_outcomes

PLAN = Plan.of(
    {
        "treatments": ["1.1"],
        "control": "1.0",
        "metric": {"name": "solved", "direction": "higher", "margin": 0.01},
        "guardrails": [{"metric": "stars", "direction": "higher", "margin": 0.1}],
    }
)


def folded(solved: str) -> Comparisons:
    """400 units of each arm, of which a tenth more are solved by the treatment; `stars` are 0 to 1 too."""
    found = Comparisons(PLAN)
    for number in range(800):
        arm = number % 2
        value = float(number % 10 < 4 + arm)
        said = [SaidOfUnit("u", "solved", solved, 0, value, None), SaidOfUnit("u", "stars", "number", 0, value, None)]
        found.fold(arm, (0.5, 0.5), of_outcomes(said))
    return found


@pytest.mark.parametrize(("kind", "unit"), [("boolean", "points"), ("number", "")])
def test_what_is_true_or_false_is_told_in_points_also_after_a_restart(kind: str, unit: str) -> None:
    before = folded(kind)
    after = Comparisons(PLAN)
    after.read(json.loads(json.dumps(before.written())))
    for one in (before, after):
        found = one.found()
        assert ("points" in found.primary["1.1"].text) == (unit == "points"), found.primary["1.1"].text
        assert "points" not in found.guardrails["stars"]["1.1"].text


def test_one_number_among_them_ends_it() -> None:
    comparisons = folded("boolean")
    comparisons.fold(0, (0.5, 0.5), {"solved": 0.7})
    assert "points" not in comparisons.found().primary["1.1"].text


def test_what_was_stored_before_kinds_were_known_is_told_as_it_was() -> None:
    written = folded("boolean").written()
    del written["rates"]
    older = Comparisons(PLAN)
    older.read(written)
    older.fold(0, (0.5, 0.5), {"solved": 1.0, yes_or_no("solved"): 1.0})
    assert "points" not in older.found().primary["1.1"].text


def test_rates_differ_by_a_hundred_points_at_most() -> None:
    found = Comparisons(PLAN)
    for number in range(300):
        arm = number % 2
        solved = float((number % 100 < 96) == bool(arm))  # nearly always by one arm, and nearly never by the other
        said = [SaidOfUnit("u", "solved", "boolean", 0, solved, None)]
        found.fold(arm, (0.5, 0.5), of_outcomes(said))
    verdict = found.found().primary["1.1"]
    assert verdict.high == 1.0
    assert "to 100 points (95 %, any time)" in verdict.text
    assert [look[2] for _, look in found.primary_intervals()] == [1.0], "pictures have the same ends"


def test_what_is_impossible_is_left_out_of_an_interval_and_of_its_estimate() -> None:
    assert Interval(1.02, 0.9, 1.3).within(1.0) == Interval(1.0, 0.9, 1.0), "weighted by shares it may lie beyond"
    assert Interval(-1.02, -1.3, -1.01).within(1.0) == Interval(-1.0, -1.0, -1.0)
    unknown = Interval(0.2, float("-inf"), float("inf"))
    assert unknown.within(1.0) == unknown
