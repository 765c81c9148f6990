"""Jobs that do not come further: nobody has them, or one worker after the other gives up."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from registry.db import Database
from registry.training.leases import free
from registry.training.rows import TrainingJobRow


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """One that has not ended and is not to pause. Times in milliseconds since the epoch."""

    id: str
    tenant: str
    status: str
    attempts: int
    """Workers that have taken it up since it last came further."""
    since_ms: int
    """When the last one took it, or it was made."""


def waiting_jobs(db: Database, at_ms: int, tries: int) -> list[WaitingJob]:
    """Those that nobody has then, or that `tries` workers and more have taken up in vain, the oldest first."""
    row = TrainingJobRow
    query = (
        select(row.id, row.tenant, row.status, row.attempts, row.taken_at_ms, row.created_at_ms)
        .where(row.finished_at_ms.is_(None), row.pauses.is_(False))
        .where(free(at_ms) | (row.attempts >= tries))
        .order_by(row.number)
    )
    with db.read() as session:
        return [
            WaitingJob(id_, tenant, status, attempts, made_ms if taken_ms is None else taken_ms)
            for id_, tenant, status, attempts, taken_ms, made_ms in session.execute(query)
        ]
