"""Which arm a unit belongs to: a salted hash, so that the same unit always gets the same answer, on every replica."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter
from typing import TypeVar

from registry.splits.ranges import FULL_WEIGHT

BUCKETS = FULL_WEIGHT
HASH_BYTES = 16
_UNTIL = itemgetter(0)
A = TypeVar("A")


def hash_of(salt: bytes, unit: str) -> bytes:
    """What the ledger knows a unit by: the first 16 bytes of SHA-256(salt, 0x00, unit)."""
    return hashlib.sha256(salt + b"\0" + unit.encode("utf-8", "surrogatepass")).digest()[:HASH_BYTES]


def bucket_of(unit_hash: bytes) -> int:
    """A number in `[0, 10000)`, uniform over units: the first 8 bytes of a unit's hash, modulo 10,000."""
    return int.from_bytes(unit_hash[:8], "big") % BUCKETS


def choose(ranges: Sequence[tuple[int, A]], bucket: int) -> A:
    """The arm whose range holds `bucket`; ranges are `(until, arm)`, rising to 10,000 (`registry.splits.ranges`)."""
    return ranges[bisect_right(ranges, bucket, key=_UNTIL)][1]
