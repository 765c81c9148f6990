"""Loads of adapters: when which engine took which version."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import insert, select

from registry.db import Database
from registry.engine_costs.rows import EngineLoadRow


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """An engine loaded a version in `[began_at_ms, ended_at_ms)`, milliseconds since the epoch."""

    engine_id: str
    tenant: str
    served_model: str
    """The version's public name."""
    began_at_ms: int
    ended_at_ms: int


class EngineLoads:
    """The table. Only appended to."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, loads: Iterable[EngineLoad]) -> None:
        """Add them to what is there."""
        if rows := [asdict(load) for load in loads]:
            with self._db.write() as session:
                session.execute(insert(EngineLoadRow), rows)

    def between(self, since_ms: int, until_ms: int) -> list[EngineLoad]:
        """Loads of which some is in `[since_ms, until_ms)`, in order of their begins."""
        row = EngineLoadRow
        columns = (row.engine_id, row.tenant, row.served_model, row.began_at_ms, row.ended_at_ms)
        query = select(*columns).where(row.ended_at_ms > since_ms, row.began_at_ms < until_ms)
        with self._db.read() as session:
            return [EngineLoad(*found) for found in session.execute(query.order_by(row.began_at_ms, row.id))]
