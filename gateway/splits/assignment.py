"""Which arm a unit belongs to: a salted hash, so that the same unit always gets the same answer, on every replica."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TypeVar

from registry.catalog.snapshot import SplitPolicy
from registry.splits.ranges import FULL_WEIGHT

BUCKETS = FULL_WEIGHT
HASH_BYTES = 16
_FIRST = struct.Struct(">Q").unpack_from
A = TypeVar("A")


def named(unit: str) -> bytes:
    """What is hashed of a unit, behind a salt: 0x00, and its text."""
    return b"\0" + unit.encode("utf-8", "surrogatepass")


def hash_of(salt: bytes, unit: str) -> bytes:
    """What the ledger knows a unit by: the first 16 bytes of SHA-256(salt, 0x00, unit)."""
    return sha256(salt + named(unit)).digest()[:HASH_BYTES]


def bucket_of(unit_hash: bytes) -> int:
    """A number in `[0, 10000)`, uniform over units: the first 8 bytes of a unit's hash, modulo 10,000."""
    number: int = _FIRST(unit_hash)[0]
    return number % BUCKETS


def takes_part(policy: SplitPolicy, unit: bytes, key_id: str, metadata: Mapping[str, str | None] | None) -> bool:
    """Whether a request of a unit (as `named`), by this key and with this metadata, is in an experiment that is not for
    all. Hashes and buckets are as `hash_of` and `bucket_of` have them: every request of an experiment is asked this.
    """
    if policy.keys and key_id not in policy.keys:
        return False
    if policy.metadata:
        said = metadata or {}
        if any(said.get(key) not in values for key, values in policy.metadata):
            return False
    (salt, most), (held_salt, held_out) = policy.audience, policy.holdout
    if most < BUCKETS and _FIRST(sha256(salt + unit).digest())[0] % BUCKETS >= most:
        return False
    return not held_out or _FIRST(sha256(held_salt + unit).digest())[0] % BUCKETS >= held_out


def choose(ranges: Sequence[tuple[int, A]], bucket: int) -> A:
    """The arm whose range holds `bucket`; ranges are `(until, arm)`, rising to 10,000 (`registry.splits.ranges`)."""
    for until, arm in ranges:  # there are two or three
        if bucket < until:
            return arm
    raise ValueError(f"no arm has bucket {bucket}")


def placed(salt: bytes, unit: bytes, ranges: Sequence[tuple[int, A]]) -> tuple[A, str]:
    """The arm of a unit (as `named`), and its hash in hexadecimal digits: `hash_of`, `bucket_of` and `choose` in one,
    for every request of a split.
    """
    digest = sha256(salt + unit).digest()
    bucket = _FIRST(digest)[0] % BUCKETS
    for until, arm in ranges:
        if bucket < until:
            return arm, digest[:HASH_BYTES].hex()
    raise ValueError(f"no arm has bucket {bucket}")
