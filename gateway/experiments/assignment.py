"""Which arm a unit belongs to: a salted hash, so that the same unit always gets the same answer, on every replica."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

BUCKETS = 10_000


def bucket_of(salt: bytes, unit: str) -> int:
    """A number in `[0, 10000)`, uniform over units: the first 8 bytes of SHA-256(salt, 0x00, unit), modulo 10,000."""
    digest = hashlib.sha256(salt + b"\0" + unit.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def choose(weights: Sequence[int], bucket: int) -> int:
    """Index of the arm whose cumulative range holds `bucket`; weights are in 1/10,000 and sum to 10,000.

    The order is fixed, so moving weight to the last arm only ever moves units towards it.
    """
    reached = 0
    for index, weight in enumerate(weights):
        reached += weight
        if bucket < reached:
            return index
    raise ValueError(f"weights {list(weights)} do not cover bucket {bucket}")
