"""Shares of right answers and their uncertainty. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from registry.wilson import wilson


@dataclass(frozen=True, slots=True)
class Score:
    """How many of `total` answers were right, with the 95 % Wilson interval `[low, high]` of the rate."""

    correct: int
    total: int
    rate: float
    low: float
    high: float


def score_of(correct: int, total: int) -> Score:
    """Score with Wilson's interval. Raises `ValueError` where `total` is not at least 1."""
    low, high = wilson(correct, total)
    return Score(correct, total, correct / total, low, high)


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float, float]:
    """Rate of `first` minus rate of `second` on the same rows: `(difference, low, high)`, 95 %.

    The score interval for paired proportions of Newcombe (Statistics in Medicine 17, 1998, method 10), which keeps
    its level when one of the rates is near 0 or 1.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} outcomes: expected the same rows, at least one")
    n = len(first)
    a, b = score_of(sum(first), n), score_of(sum(second), n)
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
