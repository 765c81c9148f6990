"""Target and unit → the one arm that answers. Pure: no clock, no chance, no state."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from gateway.handoffs import Arm, Target, Unit
from gateway.splits.assignment import BUCKETS, HASH_BYTES
from registry.short_digest import sha256

_FIRST, _WORDS = struct.Struct(">Q24x").unpack, struct.Struct(">Q8xQ8x").unpack
"""Of a digest: its first word decides on the arm, the third on the audience, so that neither says anything of the
other.
"""


def assign(
    target: Target, unit: Unit | None, key_id: str = "", metadata: Mapping[str, str | None] | None = None
) -> tuple[Arm, str | None]:
    """The base, the version, or the arm that the unit's bucket falls to in the alias's split, which needs one; and the
    unit's hash where a split has chosen, as the ledger knows it.

    `key_id` and `metadata` are the request's: who is not in the experiment of a split gets its control, unassigned.

    All in one function, as every request of a split is asked this; `tests.support.assignment` writes the rule down in
    parts, and vectors and properties hold this against it.
    """
    if (draw := target.draw) is not None:
        assert unit is not None
        salted, arms, within = draw
        named = unit.value.encode("utf-8", "surrogatepass")
        digest = sha256(salted + named).digest()
        for_arm, for_audience = _WORDS(digest)
        is_in = True
        if within is not None:
            audience, keys, said, held_salted, held_out = within
            is_in = (
                for_audience % BUCKETS < audience
                and (not keys or key_id in keys)
                and (not said or _has(metadata or {}, said))
                and (not held_out or _FIRST(sha256(held_salted + named).digest())[0] % BUCKETS >= held_out)
            )
        if is_in:
            bucket = for_arm % BUCKETS
            for until, arm in arms:  # there are two or three
                if bucket < until:
                    return arm, digest[:HASH_BYTES].hex()
            raise ValueError(f"no arm has bucket {bucket}")
    unassigned = target.unassigned
    assert unassigned is not None
    return unassigned, None


def _has(metadata: Mapping[str, str | None], said: Sequence[tuple[str, frozenset[str]]]) -> bool:
    return all(metadata.get(key) in values for key, values in said)


def stands_in(target: Target, arm: Arm) -> Arm | None:
    """What answers instead of a treatment that cannot be served, if its experiment has it so: the control, and the
    request stays the treatment's.
    """
    policy = None if target.split is None else target.split.policy
    if policy is None or not policy.falls_back or arm.assignment is None:
        return None
    control = policy.control
    if arm.public_name == control.public_name:
        return None
    return Arm(control.public_name, control.base_digest, control.version, arm.assignment)
