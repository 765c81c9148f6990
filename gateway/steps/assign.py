"""Target and unit → the one arm that answers. Pure: no clock, no chance, no state."""

from __future__ import annotations

from gateway.handoffs import Arm, Target, Unit
from gateway.splits.assignment import bucket_of, choose


def assign(target: Target, unit: Unit | None) -> Arm:
    """The base, the version, or the version that the unit's bucket falls to in the alias's split, which needs one."""
    if target.base is not None:
        return Arm(target.base.name, target.base.digest, None, None, None, None)
    assert target.version is not None
    if target.split is None:
        return Arm(target.version.name, target.version.base_digest, target.version, None, None, None)
    assert unit is not None
    version = choose(target.split.ranges, bucket_of(target.split.salt, unit.value))
    return Arm(version.name, version.base_digest, version, target.split.id, version.number, unit.source)
