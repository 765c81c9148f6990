"""What gateways find of splits whose traffic is not spread over units, one row for each split and worker."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict

from sqlalchemy import ColumnElement, select

from registry.db import Database, now_ms
from registry.splits.rows import SplitUnits
from registry.splits.skew import LEAST_REQUESTS, SplitSkew
from registry.upsert import upsert


class SplitSkews:
    """What workers have found of splits."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def note(self, worker: str, skews: Collection[SplitSkew]) -> None:
        """Keep these instead of what this worker had found of the same splits."""
        noted = {"worker": worker, "noted_at_ms": now_ms()}
        with self._db.write() as session:
            rows = [{**asdict(skew), **noted} for skew in skews]
            upsert(session, SplitUnits, rows, replace=("source", "requests", "of_one_unit", "noted_at_ms"))

    def alarming(self, split_id: int) -> SplitSkew | None:
        """The worst that a worker has found of a split, if an operator should hear of it."""
        return self._worst(SplitUnits.split_id == split_id).get(split_id)

    def all_alarming(self) -> dict[int, SplitSkew]:
        """The same of every split of which an operator should hear, by its id; those that have ended too."""
        return self._worst(SplitUnits.requests >= LEAST_REQUESTS)

    def _worst(self, which: ColumnElement[bool]) -> dict[int, SplitSkew]:
        with self._db.read() as session:
            rows = session.scalars(select(SplitUnits).where(which))
            found = [SplitSkew(row.split_id, row.source, row.requests, row.of_one_unit) for row in rows]
        return {skew.split_id: skew for skew in sorted(found, key=lambda skew: skew.share) if skew.alarming}
