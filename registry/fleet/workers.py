"""Which gateway processes serve, and which catalog revision each has in force."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select

from registry.db import Database, now_ms
from registry.fleet.rows import Worker
from registry.upsert import upsert

LEASE_MS = 5_000
"""A worker that has not reported for so long counts as gone."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A live worker."""

    id: str
    url: str
    acknowledged_revision: int


class Workers:
    """The table of live workers."""

    def __init__(self, db: Database, lease_ms: int = LEASE_MS) -> None:
        """`lease_ms`: how long a worker counts as there after a report; the same in every process."""
        self._db = db
        self.lease_ms = lease_ms

    @property
    def lease_s(self) -> float:
        """In seconds."""
        return self.lease_ms / 1000

    def report(self, worker_id: str, url: str, acknowledged_revision: int) -> None:
        """Renew the lease and say which revision this worker serves; drops workers that died long ago."""
        with self._db.write() as session:
            report = {"url": url, "acknowledged_revision": acknowledged_revision, "heartbeat_at_ms": now_ms()}
            upsert(session, Worker, [{"id": worker_id, **report}], replace=report)
            session.execute(delete(Worker).where(Worker.heartbeat_at_ms < now_ms() - 100 * self.lease_ms))

    def leave(self, worker_id: str) -> None:
        """Forget a worker that stops in order."""
        with self._db.write() as session:
            session.execute(delete(Worker).where(Worker.id == worker_id))

    def live(self) -> list[WorkerInfo]:
        """Workers whose lease has not lapsed."""
        with self._db.read() as session:
            rows = session.scalars(select(Worker).where(Worker.heartbeat_at_ms >= now_ms() - self.lease_ms))
            return [WorkerInfo(row.id, row.url, row.acknowledged_revision) for row in rows]
