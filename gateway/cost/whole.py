"""Parts of a sum as whole nano-dollars that add up to it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def half_up(exact: Fraction) -> int:
    """The nearest whole number; of two as near, the larger."""
    return (exact + Fraction(1, 2)).__floor__()


def in_whole(parts: Sequence[Fraction]) -> list[int]:
    """Each part rounded down or up, so that together they are their sum rounded half up: by the largest remainders, and
    of equal ones the first (Hamilton's method).
    """
    floors = [part.__floor__() for part in parts]
    left = half_up(sum(parts, Fraction(0))) - sum(floors)
    order = sorted(range(len(parts)), key=lambda at: (floors[at] - parts[at], at))
    for at in order[:left]:
        floors[at] += 1
    return floors


def largest_remainder(total: int, parts: Sequence[int]) -> list[int]:
    """`total` divided in proportion to `parts`, none of them negative, by the same method; where all parts are 0, all
    of it is the first one's.
    """
    of_all = sum(parts)
    if not of_all:
        return [total, *[0] * (len(parts) - 1)] if parts else []
    whole = [total * part for part in parts]
    shares = [one // of_all for one in whole]
    remainders = [one % of_all for one in whole]
    largest_first = sorted(range(len(parts)), key=remainders.__getitem__, reverse=True)  # of equal ones the first
    for place in largest_first[: total - sum(shares)]:
        shares[place] += 1
    return shares
