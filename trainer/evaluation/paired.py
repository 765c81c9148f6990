"""How sure a difference is between two models that were asked the same questions.

A unit is a conversation: turns of one are not independent, and to count each of them makes one test in five find a
difference that is not there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from trainer.evaluation.proportions import paired_difference

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 4_000
SEED = 20_260
LEAST_UNITS = 20
"""Below it a bootstrap interval is too narrow to be believed, and none is given."""
LEAST_DIFFERING = 5
"""With fewer units on which the models differ, resampling them shows too little of what could have been."""
AT_ONCE = 2_000_000
"""Numbers of a block of resamples."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Both sides, and second minus first with the ends of its 95 % interval; None where there are too few units for
    one. `p` is of the exact test that there is no difference, where there is one.
    """

    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    p: float | None = None


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p of McNemar's test from its discordant pairs (Q. McNemar, Psychometrika 12, 1947): a sign
    test. 1 without any.
    """
    differing = only_first + only_second
    tail = sum(math.comb(differing, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, tail / 2 ** (differing - 1)) if differing else 1.0


def of_right_and_wrong(first: Sequence[bool], second: Sequence[bool]) -> PairedDifference:
    """Of answers that are right or wrong, one a unit: Newcombe's paired interval. It says that there is a difference
    only where McNemar's exact test does too; else its end is moved to zero.
    """
    value, low, high = paired_difference(second, first)
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    p = mcnemar(only_first, only_second)
    if p > 1 - LEVEL:
        low, high = min(low, 0.0), max(high, 0.0)
    return PairedDifference(sum(first) / len(first), sum(second) / len(second), value, low, high, p)


@dataclass(frozen=True, slots=True)
class Sums:
    """A statistic of sums over units: `first` and `second` have a row a unit, and `of` makes a number of their sums,
    whose last axis are the columns. `span` is the most that two units can differ by, where that is bounded.
    """

    first: Numbers
    second: Numbers
    of: Callable[[Numbers], Numbers]
    span: float | None = None


def of_sums(sums: Sums) -> PairedDifference:
    """The bias-corrected and accelerated bootstrap over units (B. Efron, JASA 82, 1987), seeded.

    Where fewer than five units differ, the interval is as wide at least as the rule of three has it: what did not
    happen in n units may happen in 3 of n.
    """
    import numpy as np

    units = len(sums.first)
    whole = np.ones((1, units))
    first, second = (float(sums.of(whole @ side)[0]) for side in (sums.first, sums.second))
    value = second - first
    if units < LEAST_UNITS:
        return PairedDifference(first, second, value, None, None)
    low, high = _accelerated(sums, value, units)
    if sums.span is not None and int((sums.first != sums.second).any(axis=1).sum()) < LEAST_DIFFERING:
        room = min(1.0, 3 / units) * sums.span
        low, high = min(low, value - room), max(high, value + room)
    return PairedDifference(first, second, value, low, high)


def _accelerated(sums: Sums, value: float, units: int) -> tuple[float, float]:
    import numpy as np

    drawn = _resampled(sums, units)
    normal = NormalDist()
    below = (float((drawn < value).mean()) + float((drawn <= value).mean())) / 2
    if not 0 < below < 1:  # all resamples are alike, or on one side
        return float(drawn.min()), float(drawn.max())
    bias = normal.inv_cdf(below)
    left_out = _difference(sums, np.ones((units, units)) - np.eye(units)) if units <= 2_000 else None
    pull = 0.0 if left_out is None else _acceleration(left_out)
    ends = []
    for tail in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        z = bias + normal.inv_cdf(tail)
        ends.append(float(np.quantile(drawn, normal.cdf(bias + z / (1 - pull * z)))))
    return ends[0], ends[1]


def _acceleration(left_out: Numbers) -> float:
    from_mean = left_out.mean() - left_out
    spread = float((from_mean**2).sum())
    return 0.0 if spread == 0 else float((from_mean**3).sum()) / (6 * spread**1.5)


def _resampled(sums: Sums, units: int) -> Numbers:
    import numpy as np

    random = np.random.default_rng(SEED)
    block = max(1, min(RESAMPLES, AT_ONCE // units))
    parts = []
    for start in range(0, RESAMPLES, block):
        counts = random.multinomial(units, np.full(units, 1 / units), size=min(block, RESAMPLES - start))
        parts.append(_difference(sums, counts.astype(float)))
    return np.concatenate(parts)


def _difference(sums: Sums, weights: Numbers) -> Numbers:
    return sums.of(weights @ sums.second) - sums.of(weights @ sums.first)
