"""Units of an experiment and their attempts, as gateways would have booked them."""

from __future__ import annotations

import hashlib
from typing import Any

from registry.db import now_ms
from registry.experiments.infos import ExperimentInfo
from registry.experiments.plan import Plan
from registry.ledger.usage_record import UsageRow
from registry.names import parse_ref
from registry.service import Registry
from registry.swaps.following import follow
from tests.support.usage_rows import usage_row

ADAPTER = parse_ref("acme/triage")


def begun(registry: Registry, **plan: Any) -> ExperimentInfo:
    """An experiment of 1.1 against 1.0, which is in production, whose first step is in force without a gateway."""
    made = registry.experiments.create(ADAPTER, Plan.of({"treatments": ["1.1"], **plan}), actor="someone")
    return carried_out(registry, made.id)


def carried_out(registry: Registry, experiment_id: int) -> ExperimentInfo:
    """The experiment after the swap that it has asked for."""
    info = registry.experiments.get(experiment_id)
    if info.moving and info.swap_id is not None:
        follow(registry, registry.swaps.get(info.swap_id), timeout_s=0)
    return registry.experiments.get(experiment_id)


def unit_hash(unit: str) -> str:
    """As usage rows have it."""
    return hashlib.sha256(unit.encode()).hexdigest()[:32]


class Traffic:
    """Books attempts of an experiment's newest split."""

    def __init__(self, registry: Registry, info: ExperimentInfo) -> None:
        self.registry = registry
        self.info = info
        self.number = 0

    def row(self, unit: str, arm: str, **changes: Any) -> dict[str, Any]:
        """An attempt of a unit that the newest split has led to an arm, begun a minute ago."""
        self.number += 1
        began_ms = changes.pop("started_at_ms", now_ms() - 60_000)
        return (
            usage_row(
                f"{self.info.id}-{self.number}-1",
                split_id=self.info.splits[-1],
                arm=arm,
                propensity=self.info.weights.get(arm, 0) / 10_000,
                unit_source="header",
                unit_hash=unit_hash(unit),
                served_model=f"acme/triage@{arm}",
                ttft_ms=10.0,
                cost_nano=1_000,
                adapter_id=self.info.adapter_id,
                started_at_ms=began_ms,
                finished_at_ms=began_ms + 100,
            )
            | changes
        )

    def book(self, *rows: dict[str, Any]) -> list[dict[str, Any]]:
        """These attempts, in the ledger."""
        self.registry.ledger.record(rows)
        return list(rows)

    def failed(self, unit: str, arm: str, **changes: Any) -> dict[str, Any]:
        """An attempt that the arm failed before a byte."""
        return self.row(unit, arm, outcome="engine_failed", ttft_ms=None, completion_tokens=None, **changes)


def columns(row: dict[str, Any]) -> UsageRow:
    """The same as the ledger knows it."""
    return UsageRow.of({"segment": None, **row})
