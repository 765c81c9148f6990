"""The ratio of a baseline's tokens to ours: its interval holds at all times, and says when it is tight."""

from __future__ import annotations

import random

import pytest

from gateway.cost.calibration import LEAST_PAIRS, Calibrating, TokenSums
from registry.calibrations.store import Ratio


def drawn(chance: random.Random, ratio: float) -> tuple[int, int]:
    """Tokens of ours and of the baseline, of one answer."""
    own = 20 + round(chance.lognormvariate(4, 0.8))
    return own, round(own * ratio * chance.lognormvariate(0, 0.3) / 1.046)


def test_the_truth_is_within_the_interval_at_all_looks_together() -> None:
    chance, missed = random.Random(5), 0
    for _ in range(300):
        sums, out = TokenSums(), False
        for number in range(300):
            sums = sums.fold(*drawn(chance, 1.3))
            found = sums.interval()
            out = out or (found is not None and number % 10 == 0 and not found[0] <= 1.3 <= found[1])
        missed += out
    assert missed / 300 <= 0.05


def test_it_is_tight_when_half_of_it_is_small_enough_and_never_before_thirty() -> None:
    same = Calibrating(0.05, 10**9)
    for number in range(LEAST_PAIRS):
        assert same.stops is None, number
        same = same.fold((100, 50), (120, 60), 1)
    assert same.stops == "tight"
    assert same.prompt.told() == Ratio("1.200000", "1.200000", "1.200000")
    noisy, chance = Calibrating(0.05, 10**9), random.Random(1)
    while noisy.stops is None:
        own, other = drawn(chance, 0.8)
        noisy = noisy.fold((own, own), (other, other), 1)
    assert 100 < noisy.prompt.number < 1_000
    assert noisy.prompt.ratio == pytest.approx(0.8, rel=0.05)


def test_a_spent_budget_ends_it_whatever_is_known() -> None:
    assert Calibrating(0.05, 100).fold((1, 1), (1, 1), 100).stops == "budget"


def test_without_our_tokens_there_is_no_ratio() -> None:
    assert (TokenSums().ratio, TokenSums().interval(), TokenSums().told()) == (None, None, None)
