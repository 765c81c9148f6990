"""Engines that an operator has taken out of traffic. A row is the order; the fleet's controller obeys it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from registry.db import Database, now_ms
from registry.fleet.rows import EngineDrain


@dataclass(frozen=True, slots=True)
class Drain:
    """One engine out of traffic, who ordered it, and why."""

    url: str
    actor: str
    reason: str
    since_ms: int


class Drains:
    """The orders in force."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def order(self, url: str, *, actor: str, reason: str = "") -> Drain:
        """Take an engine out of traffic; ordering it again changes nothing."""
        with self._db.write() as session:
            session.add_new(EngineDrain(url=url, actor=actor, reason=reason[:1000], since_ms=now_ms()))
            row = session.scalars(select(EngineDrain).where(EngineDrain.url == url)).one()
            return Drain(row.url, row.actor, row.reason, row.since_ms)

    def lift(self, url: str) -> bool:
        """Let an engine take traffic again; False when it was not drained."""
        with self._db.write() as session:
            row = session.get(EngineDrain, url, with_for_update=True)
            if row is not None:
                session.delete(row)
            return row is not None

    def all(self) -> dict[str, Drain]:
        """By engine URL."""
        with self._db.read() as session:
            rows = session.scalars(select(EngineDrain))
            return {row.url: Drain(row.url, row.actor, row.reason, row.since_ms) for row in rows}
