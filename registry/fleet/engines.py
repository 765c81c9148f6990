"""Engines that operators have added while the gateway serves. A row is the order; the fleet's controller obeys it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select

from registry.db import Database, now_ms
from registry.errors import Conflict, NotFound
from registry.fleet.rows import AddedEngineRow, EngineDrain
from registry.names import SYSTEM
from registry.tenants.actions import record_action


@dataclass(frozen=True, slots=True)
class AddedEngine:
    """One engine and who added it. `declared` is what the gateway says that it is."""

    url: str
    declared: Mapping[str, Any]
    actor: str
    added_at_ms: int
    removed_at_ms: int | None
    """When it was ordered to go: it is let go when no request runs on it."""


class AddedEngines:
    """The engines of the fleet that no settings name."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, url: str, declared: Mapping[str, Any], *, actor: str) -> AddedEngine:
        """Have the fleet serve from an engine; to repeat it, or to take its removal back, is no error.

        Raises `Conflict` for one that is declared otherwise.
        """
        with self._db.write() as session:
            row = session.get(AddedEngineRow, url)
            if row is None:
                row = AddedEngineRow(url=url, declared=dict(declared), actor=actor, added_at_ms=now_ms())
                session.add(row)
                record_action(session, actor, "engine.added", SYSTEM, url, **declared)
            elif row.declared != declared:
                raise Conflict(
                    f"engine {url} was added with other properties; `switchyard engines remove {url}` comes first",
                    param="url",
                )
            elif row.removed_at_ms is not None:
                record_action(session, actor, "engine.added", SYSTEM, url, **declared)
            row.removed_at_ms = None
            return _info(row)

    def remove(self, url: str, *, actor: str) -> AddedEngine:
        """Order that an engine goes; to repeat it is no error. Raises `NotFound`."""
        with self._db.write() as session:
            row = session.get(AddedEngineRow, url)
            if row is None:
                raise NotFound(f"no engine {url[:200]!r} was added to this fleet", param="url")
            if row.removed_at_ms is None:
                row.removed_at_ms = now_ms()
                record_action(session, actor, "engine.removed", SYSTEM, url)
            return _info(row)

    def forget(self, url: str) -> None:
        """An engine that was ordered to go has gone, and an order to drain it with it.

        Nothing happens to one that was added again meanwhile.
        """
        with self._db.write() as session:
            row = session.get(AddedEngineRow, url)
            if row is not None and row.removed_at_ms is not None:
                session.delete(row)
                session.execute(delete(EngineDrain).where(EngineDrain.url == url))

    def all(self) -> list[AddedEngine]:
        """In the order in which they were added."""
        with self._db.read() as session:
            rows = session.scalars(select(AddedEngineRow).order_by(AddedEngineRow.added_at_ms, AddedEngineRow.url))
            return [_info(row) for row in rows]


def _info(row: AddedEngineRow) -> AddedEngine:
    return AddedEngine(row.url, row.declared, row.actor, row.added_at_ms, row.removed_at_ms)
