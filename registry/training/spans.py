"""When fine-tuning jobs ran, for who wants to know what they cost."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import case, func, select

from registry.db import Database, now_ms
from registry.training.rows import TrainingJobRow


@dataclass(frozen=True, slots=True)
class TrainedSpan:
    """A job from its first step to its end, or to now: pauses, and waits for another worker, are in it."""

    job_id: str
    tenant: str
    started_at_ms: int
    until_ms: int


def trained_between(db: Database, since_ms: int, until_ms: int) -> list[TrainedSpan]:
    """Jobs that ran at some time in `[since_ms, until_ms)`, in the order in which they were made."""
    row = TrainingJobRow
    # One that nobody has, and that did not end, waits: it is not known since when.
    held_until = case((row.lease_until_ms > 0, now_ms()), else_=row.started_at_ms)
    until = func.coalesce(row.finished_at_ms, held_until)
    query = (
        select(row.id, row.tenant, row.started_at_ms, until)
        .where(row.started_at_ms < until_ms, until > since_ms)
        .order_by(row.number)
    )
    with db.read() as session:
        return [TrainedSpan(id_, tenant, began or 0, end) for id_, tenant, began, end in session.execute(query)]
