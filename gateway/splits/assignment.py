"""Which arm a unit belongs to: a salted hash, so that the same unit always gets the same answer, on every replica."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TypeVar

from registry.catalog.snapshot import SplitPolicy
from registry.short_digest import sha256
from registry.splits.ranges import FULL_WEIGHT

BUCKETS = FULL_WEIGHT
HASH_BYTES = 16
_FIRST = struct.Struct(">Q").unpack_from
_WORDS = struct.Struct(">QQQQ").unpack
"""Of a digest: its first decides on the arm, the third on the audience, so that neither says anything of the other."""
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


def placed(
    salt: bytes,
    ranges: Sequence[tuple[int, A]],
    unit: str,
    policy: SplitPolicy | None = None,
    key_id: str = "",
    metadata: Mapping[str, str | None] | None = None,
) -> tuple[A, str] | None:
    """The arm of a unit, and its hash in hexadecimal digits; `None` where the policy's experiment is not for all, and a
    request of the unit, by this key and with this metadata, is not in it.

    It is `hash_of`, `bucket_of` and `choose` in one, as every request of a split is asked this.
    """
    named = b"\0" + unit.encode("utf-8", "surrogatepass")
    digest = sha256(salt + named).digest()
    for_arm, _, for_audience, _ = _WORDS(digest)
    if policy is not None and not policy.for_all:
        if for_audience % BUCKETS >= policy.audience or (policy.keys and key_id not in policy.keys):
            return None
        if policy.metadata and not _has(metadata or {}, policy):
            return None
        held_salt, held_out = policy.holdout
        if held_out and _FIRST(sha256(held_salt + named).digest())[0] % BUCKETS < held_out:
            return None
    bucket = for_arm % BUCKETS
    for until, arm in ranges:
        if bucket < until:
            return arm, digest[:HASH_BYTES].hex()
    raise ValueError(f"no arm has bucket {bucket}")


def _has(metadata: Mapping[str, str | None], policy: SplitPolicy) -> bool:
    return all(metadata.get(key) in values for key, values in policy.metadata)
