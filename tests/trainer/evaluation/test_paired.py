"""Intervals of paired differences: those of textbooks, honest ones of few units, and how often they are right."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.paired import LEAST_UNITS, Sums, mcnemar, of_right_and_wrong, of_sums


def means(first: object, second: object, span: float | None = None) -> Sums:
    sides = [np.asarray(side, float) for side in (first, second)]
    both = [np.stack((side, np.ones_like(side)), 1) for side in sides]
    return Sums(both[0], both[1], lambda sums: sums[..., 0] / sums[..., 1], span)


@pytest.mark.parametrize(
    ("pairs", "p"), [((0, 0), 1.0), ((0, 5), 0.0625), ((0, 6), 0.03125), ((5, 5), 1.0), ((1, 9), 0.0215)]
)
def test_mcnemars_exact_test_is_a_sign_test_of_the_discordant_pairs(pairs: tuple[int, int], p: float) -> None:
    assert mcnemar(*pairs) == pytest.approx(p, abs=1e-4)


def test_an_interval_excludes_zero_only_where_the_exact_test_does_too() -> None:
    five = of_right_and_wrong([False] * 5 + [True] * 60, [True] * 65)
    assert five.p == 0.0625
    assert five.low == 0.0
    six = of_right_and_wrong([False] * 6 + [True] * 60, [True] * 66)
    assert six.low is not None
    assert six.low > 0


def test_models_that_never_differ_leave_room_for_what_few_rows_do_not_show() -> None:
    few, many = (of_right_and_wrong([True] * n, [True] * n) for n in (10, 1_000))
    assert few.low is not None
    assert few.low < -0.2
    assert many.low is not None
    assert -0.01 < many.low < 0
    alike = of_sums(means([0.5] * 30, [0.5] * 30, span=1.0))
    assert (alike.low, alike.high) == (-0.1, 0.1), "the rule of three"


def test_fewer_units_than_a_bootstrap_needs_have_no_interval() -> None:
    pair = of_sums(means(range(LEAST_UNITS - 1), range(1, LEAST_UNITS)))
    assert (pair.difference, pair.low, pair.high) == (1.0, None, None)


def test_the_same_numbers_give_the_same_interval() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=40), rng.normal(size=40)
    assert of_sums(means(first, second)) == of_sums(means(first, second))


def test_the_interval_is_that_of_scipys_bootstrap() -> None:
    from scipy.stats import bootstrap

    rng = np.random.default_rng(2)
    first = rng.exponential(size=60)
    second = first + rng.exponential(size=60) - 0.5
    ours = of_sums(means(first, second))
    theirs = bootstrap((second - first,), np.mean, n_resamples=10_000, rng=np.random.default_rng(3)).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.04)
    assert ours.high == pytest.approx(theirs.high, abs=0.04)


def test_of_models_without_a_difference_about_one_interval_in_twenty_says_there_is_one() -> None:
    rng = np.random.default_rng(4)
    wrong = 0
    for _ in range(200):
        noise = rng.normal(size=(2, 40))
        pair = of_sums(means(noise[0], noise[1]))
        assert pair.low is not None
        assert pair.high is not None
        wrong += not pair.low <= 0 <= pair.high
    assert wrong <= 20, "5 % of 200 are 10, and chance makes 20 of it once in a thousand runs; the seed is fixed"
