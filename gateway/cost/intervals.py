"""Intervals of dollars: what a baseline costs while every ratio of tokens is within its own interval. Pure.

Ends of a sum are the sums of the ends, as if all ratios erred the same way: wide rather than narrow. Where errors are
normally distributed, as in large samples, and whatever they have to do with each other, so much is enough: the
deviation of a sum is at most the sum of the deviations. A sum has an interval only if all in it have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from gateway.cost.whole import in_whole

Interval = tuple[int, int]
"""Two ends, in nano-dollars, the lower one first."""
Ends = tuple[Fraction, Fraction]
"""The same, exactly."""


def around(whole: Sequence[int], exact: Sequence[Fraction], ends: Sequence[Ends | None]) -> list[Interval | None]:
    """The interval of each of several costs, which are `whole` where they are exactly `exact`; `None`: not known.

    How far the ends are from the costs is in whole nano-dollars as costs are, so that they add up.
    """
    known = [(at, low, high) for at, (low, high) in _known(ends)]
    below = in_whole([exact[at] - low for at, low, _ in known])
    above = in_whole([high - exact[at] for at, _, high in known])
    found: list[Interval | None] = [None] * len(whole)
    for (at, _, _), down, up in zip(known, below, above, strict=True):
        found[at] = whole[at] - down, whole[at] + up
    return found


def _known(ends: Sequence[Ends | None]) -> list[tuple[int, Ends]]:
    return [(at, one) for at, one in enumerate(ends) if one is not None]


def exact_sum(ends: Sequence[Ends | None]) -> Ends | None:
    """Of parts of one cost; `None` unless all are known."""
    known = [one for one in ends if one is not None]
    if not known or len(known) < len(ends):
        return None
    return sum((low for low, _ in known), Fraction(0)), sum((high for _, high in known), Fraction(0))


def whole_sum(intervals: Sequence[Interval | None]) -> Interval | None:
    """Of several costs; `None` unless all are known."""
    known = [one for one in intervals if one is not None]
    if not known or len(known) < len(intervals):
        return None
    return sum(low for low, _ in known), sum(high for _, high in known)


def less(interval: Interval | None, nano: int) -> Interval | None:
    """An interval less what is known exactly."""
    return None if interval is None else (interval[0] - nano, interval[1] - nano)


def negative(interval: Interval | None) -> Interval | None:
    """The same from the other side."""
    return None if interval is None else (-interval[1], -interval[0])
