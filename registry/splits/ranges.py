"""Which buckets of a split belong to which arm. A change of weights moves as few buckets as the weights allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

FULL_WEIGHT = 10_000
"""Weights are in 1/10,000 of the traffic, and a unit falls into one of as many buckets."""

Ranges = tuple[tuple[int, int], ...]
"""`((until, arm), …)`, rising: buckets from the `until` before (at first 0) up to, without, this one are the arm's."""
Weights = Sequence[tuple[int, int]]
"""`((arm, weight), …)` in the fixed order of arms; weights sum to 10,000."""


def lay_out(weights: Weights) -> Ranges:
    """One range for each arm that has weight, in the order of arms."""
    return _ranges([arm for arm, weight in weights for _ in range(weight)])


def ranges_of(arms: Sequence[Sequence[int]], stored: Sequence[Sequence[int]] | None) -> Ranges:
    """The ranges of a split's row; one that stores none has one range for each arm, in their order."""
    if stored is None:
        return lay_out([(arm, weight) for arm, weight in arms])
    return tuple((until, arm) for until, arm in stored)


def change(before: Ranges, weights: Weights) -> Ranges:
    """The ranges for new weights in which every arm keeps all buckets that it had and still has room for.

    Half of the sum of the weights' differences moves, and never more. Of several such ranges these are the nearest to
    `lay_out(weights)`, so that a change that is taken back gives most units to the arm that they came from.
    """
    wanted = [arm for arm, weight in weights for _ in range(weight)]
    owners = [arm for length, arm in _lengths(before) for _ in range(length)]
    lacks = Counter(wanted)
    lacks.subtract(owners)  # below zero: what the arm has to give away
    for anywhere in (False, True):
        for bucket, (owner, best) in enumerate(zip(owners, wanted, strict=True)):
            if owner == best or lacks[owner] >= 0:
                continue
            taker = next(arm for arm, count in lacks.items() if count > 0) if anywhere else best
            if lacks[taker] > 0:
                owners[bucket] = taker
                lacks[owner] += 1
                lacks[taker] -= 1
    return _ranges(owners)


def _lengths(ranges: Ranges) -> list[tuple[int, int]]:
    ends = [0, *(until for until, _ in ranges)]
    return [(until - since, arm) for since, (until, arm) in zip(ends, ranges, strict=False)]


def _ranges(owners: Sequence[int]) -> Ranges:
    """Raises `ValueError` unless every bucket has an owner."""
    if len(owners) != FULL_WEIGHT:
        raise ValueError(f"{len(owners)} buckets have an owner; {FULL_WEIGHT} must")
    ranges, until = [], 0
    for arm, run in groupby(owners):
        until += len(list(run))
        ranges.append((until, arm))
    return tuple(ranges)
