"""How a unit falls to an arm, in parts: what `gateway.steps.assign`, which does it in one, is held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from gateway.splits.assignment import BUCKETS

A = TypeVar("A")


def bucket_of(unit_hash: bytes) -> int:
    """A number in `[0, 10000)`, uniform over units: the first 8 bytes of a unit's hash, modulo 10,000."""
    return int.from_bytes(unit_hash[:8], "big") % BUCKETS


def choose(ranges: Sequence[tuple[int, A]], bucket: int) -> A:
    """The arm whose range holds `bucket`; ranges are `(until, arm)`, rising to 10,000 (`registry.splits.ranges`)."""
    for until, arm in ranges:
        if bucket < until:
            return arm
    raise ValueError(f"no arm has bucket {bucket}")
