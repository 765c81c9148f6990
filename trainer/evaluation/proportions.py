"""Shares of right answers and their uncertainty. Pure, standard library only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z_95 = 1.959963984540054  # the 97.5 % point of the normal distribution


@dataclass(frozen=True, slots=True)
class Score:
    """How many of `total` answers were right, with the 95 % Wilson interval `[low, high]` of the rate."""

    correct: int
    total: int
    rate: float
    low: float
    high: float


def wilson(correct: int, total: int) -> Score:
    """Score with Wilson's interval (E. B. Wilson, JASA 22, 1927). `total` must be at least 1."""
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"correct={correct}, total={total}: expected 0 <= correct <= total and total >= 1")
    rate = correct / total
    spread = 1 + Z_95**2 / total
    centre = (rate + Z_95**2 / (2 * total)) / spread
    half = Z_95 * math.sqrt(rate * (1 - rate) / total + Z_95**2 / (4 * total**2)) / spread
    low = centre - half if correct else 0.0  # exact at the ends, where rounding would leave 1e-18
    high = centre + half if correct < total else 1.0
    return Score(correct, total, rate, low, high)


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float, float]:
    """Rate of `first` minus rate of `second` on the same rows: `(difference, low, high)`, 95 %.

    The score interval for paired proportions of Newcombe (Statistics in Medicine 17, 1998, method 10), which keeps
    its level when one of the rates is near 0 or 1.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} outcomes: expected the same rows, at least one")
    n = len(first)
    a, b = wilson(sum(first), n), wilson(sum(second), n)
    both = sum(x and y for x, y in zip(first, second, strict=True))
    neither = sum(not x and not y for x, y in zip(first, second, strict=True))
    phi = _phi(both, sum(first) - both, sum(second) - both, neither)
    down_a, down_b, up_a, up_b = a.rate - a.low, b.rate - b.low, a.high - a.rate, b.high - b.rate
    difference = a.rate - b.rate
    below = math.sqrt(max(0.0, down_a**2 - 2 * phi * down_a * up_b + up_b**2))
    above = math.sqrt(max(0.0, up_a**2 - 2 * phi * up_a * down_b + down_b**2))
    return difference, difference - below, difference + above


def _phi(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Correlation of the paired outcomes with Newcombe's continuity correction for positive ones; 0 when undefined."""
    n = both + only_first + only_second + neither
    product = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if product == 0:
        return 0.0
    cross = float(both * neither - only_first * only_second)
    if cross > 0:
        cross = max(cross - n / 2, 0.0)
    return cross / math.sqrt(product)
