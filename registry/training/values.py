"""Rows as callers see them."""

from __future__ import annotations

from typing import Any, cast

from registry.db import now_ms
from registry.training.jobs import FINAL, JobCheckpoint, JobError, JobEvent, JobOrder, Status, TrainingJob
from registry.training.leases import held
from registry.training.rows import TrainingCheckpoint, TrainingEvent, TrainingJobRow


def job_of(row: TrainingJobRow) -> TrainingJob:
    """A job as it stands."""
    is_held = held(row.lease_until_ms, now_ms()) and row.status not in FINAL
    return TrainingJob(
        id=row.id,
        tenant=row.tenant,
        created_at_ms=row.created_at_ms,
        status=cast("Status", "paused" if row.pauses else row.status),
        order=order_of(row),
        hyperparameters=row.hyperparameters,
        started_at_ms=row.started_at_ms,
        finished_at_ms=row.finished_at_ms,
        estimated_finish_ms=row.estimated_finish_ms,
        trained_tokens=row.trained_tokens,
        fine_tuned_model=row.fine_tuned_model,
        version_id=row.version_id,
        result_files=tuple(row.result_files),
        error=None if row.error is None else JobError(**row.error),
        facts=row.facts,
        worker=row.worker if is_held else None,
    )


def order_of(row: TrainingJobRow) -> JobOrder:
    """What was asked for."""
    document: dict[str, Any] = dict(row.ordered)
    document["integrations"] = tuple(document["integrations"])
    return JobOrder(tenant=row.tenant, idempotency_key=row.idempotency_key, **document)


def event_of(row: TrainingEvent) -> JobEvent:
    """One thing that happened."""
    return JobEvent(row.id, row.created_at_ms, row.level, row.message, row.type, row.data)  # type: ignore[arg-type]


def checkpoint_of(row: TrainingCheckpoint) -> JobCheckpoint:
    """A state of a job."""
    return JobCheckpoint(row.id, row.created_at_ms, row.step, row.metrics, row.blob)
