"""Reads the audit log: orders, each with all that is known of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from registry.audit.log import faults_in
from registry.audit.naming import AGAINST
from registry.audit.rows import AuditLine
from registry.db import Database
from registry.errors import NotFound


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row that an order changed. `before` is null for a new one, `after` for one that is gone; of others both have
    the columns that differ. `key` is `*` where a statement wrote rows that nobody listed (`statements`).
    """

    table: str
    key: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    statements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One order; times in milliseconds since the epoch. The other fields are as in `registry.audit.order.Ordered`."""

    id: int
    at_ms: int
    actor: str
    via: str
    key_id: str | None
    role: str | None
    address: str | None
    method: str | None
    route: str
    path: str | None
    object: str
    tenant: str | None
    request_id: str | None
    body: Mapping[str, Any]
    outcome: Literal["done", "refused", "failed", "unknown"]
    """`unknown`: it is being carried out, or its process died before it could say."""
    status: int | None
    """The answer's, of HTTP."""
    error: str | None
    ended_at_ms: int | None
    changes: tuple[RowChange, ...]
    rows_untold: int
    """Rows that it changed beyond those in `changes`."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of looking through the whole log."""

    lines: int
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which orders; `None` is any. `object` is its name, or what begins with it before an `@`, `/` or `:`; of two that
    an order is about, either.
    """

    tenant: str | None = None
    actor: str | None = None
    object: str | None = None
    since_ms: int | None = None


class AuditLog:
    """The orders."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def page(self, wanted: Wanted, before: int | None, limit: int) -> list[AuditEntry]:
        """Orders, the newest first, those with an id below `before`."""
        line, of_any = AuditLine, aliased(AuditLine)
        query = select(line.seq).where(line.kind == "order").order_by(line.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(line.seq < before)
        if wanted.tenant is not None:  # as the order said, or as what it changed shows
            query = query.where(line.seq.in_(select(of_any.order_seq).where(of_any.tenant == wanted.tenant)))
        if wanted.actor is not None:
            query = query.where(line.actor == wanted.actor)
        if wanted.object is not None:
            query = query.where(line.seq.in_(select(of_any.order_seq).where(_is_about(of_any.object, wanted.object))))
        if wanted.since_ms is not None:
            query = query.where(line.at_ms >= wanted.since_ms)
        with self._db.read() as session:
            ids = session.scalars(query).all()
            rows = select(line.order_seq, line.document).where(line.order_seq.in_(ids)).order_by(line.seq)
            documents: dict[int, list[dict[str, Any]]] = {}
            for order, document in session.execute(rows):
                documents.setdefault(order, []).append(json.loads(document))
        return [_entry(documents[id_]) for id_ in ids]

    def get(self, id_: int) -> AuditEntry:
        """One order; raises `NotFound`."""
        found = self.page(Wanted(), id_ + 1, 1)
        if not found or found[0].id != id_:
            raise NotFound(f"there is no order {id_} in the audit log; `switchyard audit list` shows them", param="id")
        return found[0]

    def prove(self) -> Proof:
        """Look through all of it."""
        with self._db.read() as session:
            lines, faults = faults_in(session)
        return Proof(lines, tuple(faults))


def _is_about(column: InstrumentedAttribute[str], wanted: str) -> ColumnElement[bool]:
    second = AGAINST + wanted
    marked = [
        found
        for mark in "@/:"
        for found in (
            column.startswith(wanted + mark, autoescape=True),
            column.contains(second + mark, autoescape=True),
        )
    ]
    first = column.startswith(wanted + AGAINST, autoescape=True)
    return or_(column == wanted, first, column.endswith(second, autoescape=True), *marked)


def _entry(documents: list[dict[str, Any]]) -> AuditEntry:
    first, *rest = documents
    end = next((one for one in rest if one["kind"] == "end"), None)
    changes = [change for one in rest if one["kind"] == "change" for change in one["changes"]]
    said = {name: first.get(name) for name in AuditEntry.__dataclass_fields__ if name in first}
    return AuditEntry(
        **{**said, "id": first["seq"]},
        outcome="unknown" if end is None else end["outcome"],
        status=None if end is None else end["status"],
        error=None if end is None else end["error"],
        ended_at_ms=None if end is None else end["at_ms"],
        rows_untold=0 if end is None else end["rows_untold"],
        changes=tuple(
            RowChange(one["table"], one["key"], one["before"], one["after"], tuple(one.get("statements", ())))
            for one in changes
        ),
    )
