"""Requests that were refused before they became attempts: sums by day, tenant, key, model, limit and reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, select

from registry.days import DAY_MS
from registry.db import Database
from registry.ledger.rows import RefusalDay
from registry.upsert import upsert

KEYS = tuple(column.name for column in RefusalDay.__table__.primary_key)


@dataclass(frozen=True, slots=True)
class Refused:
    """What refusals that are counted together have in common; the fields of `RefusalDay`."""

    day: int
    tenant: str
    key_id: str
    model: str
    scope: str
    reason: str


class RefusalBooks:
    """The sums in the database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, counts: Mapping[Refused, int]) -> None:
        """Add what a process has counted, all of it or nothing. Raises what the database raises."""
        rows = [
            {**{name: getattr(one, name) for name in KEYS}, "refused": count}
            for one, count in sorted(counts.items(), key=lambda item: repr(item[0]))
        ]
        if rows:
            with self._db.write() as session:
                upsert(session, RefusalDay, rows, add=("refused",))

    def by_limit(self, since_ms: int, until_ms: int) -> Mapping[tuple[str, str], int]:
        """By scope and limit: refusals on the UTC days that lie in `[since_ms, until_ms)`."""
        row = RefusalDay
        query = (
            select(row.scope, row.reason, func.sum(row.refused))
            .where(row.scope != "", within(since_ms, until_ms))
            .group_by(row.scope, row.reason)
        )
        with self._db.read() as session:
            return {(scope, reason): int(count) for scope, reason, count in session.execute(query)}


def within(since_ms: int, until_ms: int) -> ColumnElement[bool]:
    """Days that begin in the window, and the one that it begins in: refusals are known by day only."""
    return and_(RefusalDay.day >= since_ms // DAY_MS, RefusalDay.day < -(-until_ms // DAY_MS))
