"""Which arm a unit belongs to: a salted hash, so that the same unit always gets the same answer, on every replica."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeVar

from gateway.handoffs import Arm, Draw
from registry.catalog.snapshot import SplitPolicy
from registry.short_digest import sha256
from registry.splits.ranges import FULL_WEIGHT

BUCKETS = FULL_WEIGHT
HASH_BYTES = 16
_FIRST = struct.Struct(">Q").unpack_from
A = TypeVar("A")


def hash_of(salt: bytes, unit: str) -> bytes:
    """What the ledger knows a unit by: the first 16 bytes of SHA-256(salt, 0x00, unit)."""
    digest: bytes = sha256(salt + b"\0" + unit.encode("utf-8", "surrogatepass")).digest()
    return digest[:HASH_BYTES]


def bucket_of(unit_hash: bytes) -> int:
    """A number in `[0, 10000)`, uniform over units: the first 8 bytes of a unit's hash, modulo 10,000."""
    number: int = _FIRST(unit_hash)[0]
    return number % BUCKETS


def choose(ranges: Sequence[tuple[int, A]], bucket: int) -> A:
    """The arm whose range holds `bucket`; ranges are `(until, arm)`, rising to 10,000 (`registry.splits.ranges`)."""
    for until, arm in ranges:  # there are two or three
        if bucket < until:
            return arm
    raise ValueError(f"no arm has bucket {bucket}")


def draw_of(salt: bytes, arms: Sequence[tuple[int, Arm]], policy: SplitPolicy | None = None) -> Draw:
    """How a split of this salt chooses from arms that are each behind the bucket at which its own end, if it is that of
    an experiment as the policy says.
    """
    within = None
    if policy is not None and not policy.for_all:
        held_salt, held_out = policy.holdout
        within = policy.audience, policy.keys, policy.metadata, held_salt + b"\0", held_out
    return salt + b"\0", arms, within
