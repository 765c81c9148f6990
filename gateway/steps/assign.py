"""Target and unit → the one arm that answers. Pure: no clock, no chance, no state."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.handoffs import Arm, Target, Unit
from gateway.splits.assignment import placed


def assign(
    target: Target, unit: Unit | None, key_id: str = "", metadata: Mapping[str, str | None] | None = None
) -> tuple[Arm, str | None]:
    """The base, the version, or the arm that the unit's bucket falls to in the alias's split, which needs one; and the
    unit's hash where a split has chosen, as the ledger knows it.

    `key_id` and `metadata` are the request's: who is not in the experiment of a split gets its control, unassigned.
    """
    split = target.split
    if split is not None:
        assert unit is not None
        found = placed(split.salt, target.arms, unit.value, split.policy, key_id, metadata)
        if found is not None:
            return found
    arm = target.unassigned
    assert arm is not None
    return arm, None


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
