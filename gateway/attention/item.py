"""One thing that needs a decision, and what sources of such things know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from registry.catalog.snapshot import Catalog
from registry.service import Registry

Severity = Literal["act", "watch"]
"""`act`: tenants are hurt, or something waits for a person. `watch`: it may come to that."""
Kind = Literal[
    "controller_away",
    "catalog_lapsed",
    "worker_behind",
    "engine_down",
    "engine_refused",
    "engine_drained",
    "duty_failing",
    "version_quarantined",
    "version_barred",
    "analysis_late",
    "experiment_asks",
    "experiment_alarm",
    "experiment_failed",
    "experiment_inconclusive",
    "experiment_paused",
    "ramp_held",
    "split_skewed",
    "swap_failed",
    "budget_near",
    "budget_used_up",
    "usage_unpriced",
    "usage_unsettled",
    "model_retiring",
    "job_stuck",
    "job_waiting",
    "webhook_failing",
    "cannot_tell",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing. Of the same `kind` and `object` there is one."""

    kind: Kind
    severity: Severity
    object: str
    """What it is about: an engine's URL, `acme/triage@1.1`, `experiments/7`, `tenant:acme`, a job's id …"""
    said: str
    """What is so, in a sentence."""
    remedy: str
    """What to do, in a sentence."""
    command: str | None
    """That does it, or shows more."""
    page: str
    """Of the dashboard, where it can be seen or done."""
    tenant: str | None = None
    since_ms: int | None = None
    """Milliseconds since the epoch; `None`: nobody wrote down when it began."""


@dataclass(frozen=True, slots=True)
class Known:
    """What sources are asked with."""

    registry: Registry
    catalog: Catalog
    lapsed: bool
    """Whether this worker's catalog is too old to serve by."""
    fleet: Mapping[str, Any] | None
    """The controller's document; `None`: nobody leads."""
    at_ms: int
    retirement_days: int
    """Models that end within so many days are told."""

    def version(self, version_id: int) -> str:
        """Its name."""
        entry = self.catalog.versions_by_id.get(version_id)
        return entry.name if entry is not None else f"version id {version_id}"
