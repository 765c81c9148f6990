"""Target and unit → the one arm that answers. Pure: no clock, no chance, no state."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.handoffs import Arm, Assignment, Target, Unit
from gateway.splits.assignment import bucket_of, choose, hash_of, takes_part


def assign(
    target: Target, unit: Unit | None, key_id: str = "", metadata: Mapping[str, str | None] | None = None
) -> Arm:
    """The base, the version, or the arm that the unit's bucket falls to in the alias's split, which needs one.

    `key_id` and `metadata` are the request's: who is not in the experiment of a split gets its control, unassigned.
    """
    if target.base is not None:
        return Arm(target.base.name, target.base.digest)
    version, split = target.version, target.split
    assert version is not None
    if split is None:
        return Arm(version.name, version.base_digest, version)
    assert unit is not None
    policy = split.policy
    if policy is not None and not takes_part(policy, unit.value, key_id, metadata):
        control = policy.control
        return Arm(control.public_name, control.base_digest, control.version)
    unit_hash = hash_of(split.salt, unit.value)
    chosen = choose(split.ranges, bucket_of(unit_hash))
    assignment = Assignment(split.id, chosen.name, chosen.share, unit.source, unit_hash.hex())
    through = version if chosen.version is None else None
    return Arm(chosen.public_name, chosen.base_digest, chosen.version, assignment, through)


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
