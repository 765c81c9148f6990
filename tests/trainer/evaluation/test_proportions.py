from __future__ import annotations

import math

import pytest

from trainer.evaluation.proportions import paired_difference, score_of


def test_wilson_gives_the_textbook_interval() -> None:
    score = score_of(81, 263)  # Newcombe 1998, table I
    assert (round(score.low, 4), round(score.high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize(("correct", "low", "high"), [(0, 0.0, 0.1611), (20, 0.8389, 1.0)])
def test_wilson_stays_inside_zero_and_one(correct: int, low: float, high: float) -> None:
    score = score_of(correct, 20)
    assert score.low == pytest.approx(low, abs=1e-4)
    assert score.high == pytest.approx(high, abs=1e-4)


@pytest.mark.parametrize(("correct", "total"), [(1, 0), (3, 2), (-1, 2)])
def test_impossible_counts_are_refused(correct: int, total: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= successes <= total"):
        score_of(correct, total)


def test_the_paired_difference_gives_the_published_interval() -> None:
    # Newcombe 1998 (paired), table II: 36 both, 12 only first, 2 only second, 0 neither; method 10: 0.0569 to 0.3404
    first = [True] * 36 + [True] * 12 + [False] * 2
    second = [True] * 36 + [False] * 12 + [True] * 2
    difference, low, high = paired_difference(first, second)
    assert difference == pytest.approx(0.2)
    assert (round(low, 4), round(high, 4)) == (0.0569, 0.3404)


def test_equal_outcomes_differ_by_an_interval_around_zero() -> None:
    difference, low, high = paired_difference([True, False] * 20, [True, False] * 20)
    assert difference == 0
    assert low == pytest.approx(-high)
    assert low <= 0


def test_swapping_the_sides_mirrors_the_interval() -> None:
    first, second = [True] * 9 + [False] * 3, [True] * 2 + [False] * 10
    difference, low, high = paired_difference(first, second)
    assert paired_difference(second, first) == pytest.approx((-difference, -high, -low))
    assert all(map(math.isfinite, (difference, low, high)))


def test_unequal_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="the same rows"):
        paired_difference([True], [True, False])
