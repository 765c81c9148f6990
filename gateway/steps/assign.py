"""Target and unit → the one arm that answers. Pure: no clock, no chance, no state."""

from __future__ import annotations

from gateway.handoffs import Arm, Assignment, Target, Unit
from gateway.splits.assignment import bucket_of, choose, hash_of


def assign(target: Target, unit: Unit | None) -> Arm:
    """The base, the version, or the arm that the unit's bucket falls to in the alias's split, which needs one."""
    if target.base is not None:
        return Arm(target.base.name, target.base.digest)
    version, split = target.version, target.split
    assert version is not None
    if split is None:
        return Arm(version.name, version.base_digest, version)
    assert unit is not None
    unit_hash = hash_of(split.salt, unit.value)
    chosen = choose(split.ranges, bucket_of(unit_hash))
    assignment = Assignment(split.id, chosen.name, chosen.share, unit.source, unit_hash.hex())
    return Arm(chosen.public_name, chosen.base_digest, chosen.version, assignment)
