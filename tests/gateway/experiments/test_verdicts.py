"""What is said of an interval: as a person would, in points for rates and in percent for latency and cost."""

from __future__ import annotations

import math

import pytest

from gateway.experiments.inference.values import Interval
from gateway.experiments.inference.verdicts import Measure, guardrail, joint, missingness, verdict

ACCEPTED = Measure("accepted", margin=0.01)
LATENCY = Measure("P95 latency", "percent", False, 0.1, "faster", "slower")
NOTHING = Interval(0.0, -math.inf, math.inf)


@pytest.mark.parametrize(
    ("interval", "measure", "word", "text"),
    [
        (Interval(0.038, 0.021, 0.054), ACCEPTED, "better", "B is better by 2.1 to 5.4 points (95 %, any time)"),
        (Interval(-0.03, -0.054, -0.021), ACCEPTED, "worse", "B is worse by 2.1 to 5.4 points (95 %, any time)"),
        (Interval(-0.3, -0.41, -0.2), LATENCY, "better", "B is faster by 20 to 41 % (95 %, any time)"),
        (
            Interval(0.01, -0.012, 0.034),
            ACCEPTED,
            "undecided",
            "B is between 1.2 points worse and 3.4 points better (95 %, any time): no difference is certain",
        ),
        (
            Interval(0.01, -0.009, 0.034),
            ACCEPTED,
            "non_inferior",
            "B is between 0.9 points worse and 3.4 points better (95 %, any time): not worse by more than 1 point",
        ),
        (NOTHING, ACCEPTED, "too_few_units", "too few units yet to compare B: it takes 200 of both arms"),
    ],
)
def test_a_comparison_is_told_in_the_unit_of_its_measure(
    interval: Interval, measure: Measure, word: str, text: str
) -> None:
    found = verdict(interval, measure, 0.05)
    assert (found.word, found.text) == (word, text)


@pytest.mark.parametrize(
    ("interval", "word", "text"),
    [
        (Interval(0.3, 0.12, 0.5), "worse", "B is slower than the control by at least 12 % (99 %, any time)"),
        (
            Interval(0.0, -0.1, 0.05),
            "non_inferior",
            "B is not slower than the control by more than 10 % (99 %, any time)",
        ),
        (
            Interval(0.1, 0.05, 0.5),
            "undecided",
            "B is slower by 5 to 50 % (99 %, any time): no harm is certain",
        ),
        (NOTHING, "too_few_units", "too few units yet to compare B"),
    ],
)
def test_a_guardrail_is_broken_only_by_what_is_surely_beyond_its_margin(
    interval: Interval, word: str, text: str
) -> None:
    found = guardrail(interval, LATENCY, 0.01)
    assert (found.word, found.text) == (word, f"P95 latency: {text}")


@pytest.mark.parametrize(
    ("quality", "cost", "word", "text"),
    [
        (
            Interval(0.01, -0.009, 0.03),
            Interval(-0.38, -0.44, -0.31),
            "better",
            "B is non-inferior within 1 point and 38 % cheaper (31 to 44 %) per accepted answer (95 %, any time)",
        ),
        (
            Interval(-0.04, -0.05, -0.03),
            Interval(-0.38, -0.44, -0.31),
            "undecided",
            "B is worse by 3 to 5 points and 38 % cheaper (31 to 44 %) per accepted answer (95 %, any time)",
        ),
        (
            Interval(0.01, -0.02, 0.03),
            Interval(0.2, 0.1, 0.3),
            "worse",
            "B is between 2 points worse and 3 points better and 20 % dearer (10 to 30 %) per accepted answer "
            "(95 %, any time)",
        ),
        (
            Interval(0.04, 0.02, 0.06),
            Interval(0.01, -0.02, 0.03),
            "better",
            "B is better by 2 to 6 points and between 2 % cheaper and 3 % dearer per accepted answer (95 %, any time)",
        ),
        (
            NOTHING,
            NOTHING,
            "too_few_units",
            "cost of an accepted answer: too few units yet to compare B",
        ),
    ],
)
def test_quality_and_dollars_are_one_sentence(quality: Interval, cost: Interval, word: str, text: str) -> None:
    found = joint(quality, ACCEPTED, cost, 0.05)
    assert (found.word, found.text) == (word, text)


def test_feedback_that_is_missing_more_often_on_one_arm_is_said() -> None:
    found = missingness(Interval(0.05, 0.031, 0.09), 0.05)
    assert found.word == "worse"
    assert found.text.startswith("feedback is missing more often on B, by 3.1 to 9 points (95 %, any time)")
    assert missingness(Interval(-0.05, -0.09, -0.031), 0.05).word == "worse"
    assert missingness(Interval(0.0, -0.01, 0.02), 0.05).word == "undecided"
    assert missingness(NOTHING, 0.05).word == "too_few_units"


def test_an_interval_without_ends_is_written_without_them() -> None:
    found = verdict(NOTHING, ACCEPTED, 0.05)
    assert (found.low, found.high) == (None, None)


@pytest.mark.parametrize(
    ("alpha", "sure"), [(0.05, "95"), (0.05 / 2, "97.5"), (0.05 / 3, "98.3"), (0.05 / 7, "99.29"), (1e-6, "99.9999")]
)
def test_how_sure_it_is_has_no_more_digits_than_it_means_and_is_never_all(alpha: float, sure: str) -> None:
    assert f"({sure} %, any time)" in verdict(Interval(0.038, 0.021, 0.054), ACCEPTED, alpha).text
