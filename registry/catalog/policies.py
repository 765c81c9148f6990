"""What the catalog has of an experiment's plan: whose requests are in it, and nothing of what it decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.catalog.snapshot import SplitArm, SplitPolicy
from registry.experiments.plan import Plan


def policy_of(
    experiment_id: int,
    name: str,
    document: Mapping[str, Any],
    adapter_id: int,
    arms: Mapping[str, SplitArm],
) -> SplitPolicy:
    """Of a split of an experiment, whose arms these are by name. Who is held out is so in every experiment of the
    adapter, by a salt of the adapter's.
    """
    plan = Plan.stored(document)
    audience = plan.audience
    return SplitPolicy(
        experiment_id=experiment_id,
        experiment=name,
        unit=plan.unit,
        control=arms[plan.arms[0]],
        falls_back=plan.fallback == "control",
        keys=frozenset(audience.keys),
        metadata=tuple((key, frozenset(values)) for key, values in audience.metadata.items()),
        audience=audience.weight,
        holdout=(f"holdout of adapter {adapter_id}".encode(), plan.holdout_weight),
        for_all=audience.everybody and plan.holdout_weight == 0,
        window_ms=plan.window_ms,
    )
