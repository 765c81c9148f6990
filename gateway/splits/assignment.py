"""What decides on a unit's arm: a salted hash, so that the same unit always gets the same answer, on every replica.

`steps.assign` follows it; the whole rule, apart from what runs, is in `tests.support.assignment`.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.handoffs import Arm, Draw
from registry.catalog.snapshot import SplitPolicy
from registry.short_digest import sha256
from registry.splits.ranges import FULL_WEIGHT

BUCKETS = FULL_WEIGHT
HASH_BYTES = 16


def hash_of(salt: bytes, unit: str) -> bytes:
    """What the ledger knows a unit by: the first 16 bytes of SHA-256(salt, 0x00, unit)."""
    digest: bytes = sha256(salt + b"\0" + unit.encode("utf-8", "surrogatepass")).digest()
    return digest[:HASH_BYTES]


def draw_of(salt: bytes, arms: Sequence[tuple[int, Arm]], policy: SplitPolicy | None = None) -> Draw:
    """How a split of this salt chooses from arms that are each behind the bucket at which its own end, if it is that of
    an experiment as the policy says.
    """
    within = None
    if policy is not None and not policy.for_all:
        held_salt, held_out = policy.holdout
        within = policy.audience, policy.keys, policy.metadata, held_salt + b"\0", held_out
    return salt + b"\0", arms, within
