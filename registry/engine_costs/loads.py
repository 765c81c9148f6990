"""What loads of adapters took of engines, by UTC day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import select

from registry.db import Database
from registry.engine_costs.rows import EngineLoadDay
from registry.upsert import upsert


@dataclass(frozen=True, slots=True)
class LoadDay:
    """Loads of one version on one engine on one day."""

    day: int
    engine_id: str
    tenant: str
    served_model: str
    """The version's public name."""
    loads: int
    load_ms: int


class EngineLoads:
    """The table."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, loads: Iterable[LoadDay]) -> None:
        """Add them to what is there."""
        if rows := [asdict(load) for load in loads]:
            with self._db.write() as session:
                upsert(session, EngineLoadDay, rows, add=("loads", "load_ms"))

    def between(self, first_day: int, end_day: int) -> list[LoadDay]:
        """Of days in `[first_day, end_day)`, in order."""
        row = EngineLoadDay
        columns = (row.day, row.engine_id, row.tenant, row.served_model, row.loads, row.load_ms)
        query = select(*columns).where(row.day >= first_day, row.day < end_day).order_by(*columns[:4])
        with self._db.read() as session:
            return [LoadDay(*found) for found in session.execute(query)]
