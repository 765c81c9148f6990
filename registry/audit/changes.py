"""What a transaction changes, as documents: found in the rows that it writes, so that no writer has to say it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import LargeBinary, inspect
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter
from registry.audit.naming import tenant_of
from registry.audit.order import Order
from registry.audit.secrets import told
from registry.tenants.rows import Tenant

UNTOLD = frozenset(
    {"audit_lines", "admin_actions", "catalog_changes", "catalog_revision", "workers", "alembic_version"}
)
"""Tables that are logs themselves, or say nothing of an order."""
HASHES = frozenset({"sha256"})
"""Columns by which a secret is recognised."""
EVERY = "*"
"""The key of a change by a statement, whose rows nobody has seen."""


class ChangedRows:
    """Of one transaction, by table and primary key: the columns that are other than before."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.tenant: str | None = None
        """Whose the first row is that is a tenant's."""
        self.about = ""
        """The first adapter that a row is of, `acme/triage`."""

    def see_flush(self, session: Session) -> None:
        """Take the rows of a flush, whose state is still that before it."""
        for row in session.new:
            self._see(row, None, _columns(row))
            self._see_owner(session, row)
        for row in session.dirty:
            before, after = _differences(row)
            if after:
                self._see(row, before, after)
                self._see_owner(session, row)
        for row in session.deleted:
            self._see(row, _columns(row), None)
            self._see_owner(session, row)

    def see_statement(self, table: str, verb: str) -> None:
        """Take a statement that writes rows past the session."""
        if table not in UNTOLD and self._has_room((table, EVERY)):
            self._rows.setdefault((table, EVERY), {"before": None, "after": None, "statements": []})
            statements = self._rows[table, EVERY]["statements"]
            if verb not in statements:
                statements.append(verb)

    def documents(self) -> list[dict[str, Any]]:
        """The changes in their order; each column's value before and after."""
        return [
            {"table": table, "key": key, **change}
            for (table, key), change in self._rows.items()
            if change["before"] != change["after"] or "statements" in change
        ]

    def _see(self, row: Any, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        state = inspect(row)
        table = state.mapper.local_table.name
        if table in UNTOLD:
            return
        key = "/".join(map(str, state.mapper.primary_key_from_instance(row)))
        if not self._has_room((table, key)):
            return
        old, new = (None if document is None else told(document) for document in (before, after))
        known = self._rows.setdefault((table, key), {"before": old, "after": {}})
        if known["before"] is not None and old is not None:  # what changes for the second time was as at first
            known["before"] = {**old, **known["before"]}
        known["after"] = None if new is None else {**(known["after"] or {}), **new}

    def _see_owner(self, session: Session, row: Any) -> None:
        if inspect(row).mapper.local_table.name in UNTOLD:
            return
        adapter_id = getattr(row, "adapter_id", None)
        adapter = session.get(Adapter, adapter_id) if adapter_id is not None else None
        adapter = row if isinstance(row, Adapter) else adapter
        if adapter is not None and not self.about:
            self.about = f"{adapter.tenant}/{adapter.name}"
        if self.tenant is None:
            named = row.name if isinstance(row, Tenant) else getattr(adapter or row, "tenant", None)
            self.tenant = named or tenant_of(str(getattr(row, "scope", "")), {})

    def _has_room(self, key: tuple[str, str]) -> bool:
        if key in self._rows:
            return True
        if self._order.rows_left <= 0:
            self._order.rows_untold += 1
            return False
        self._order.rows_left -= 1
        return True


def _columns(row: Any) -> dict[str, Any]:
    known = inspect(row).dict  # to ask the row itself for what it was not given would be a query
    return {name: known.get(name) for name in _told_columns(row)}


def _differences(row: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    before, after = {}, {}
    attributes = inspect(row).attrs
    for name in _told_columns(row):
        history = attributes[name].history
        if history.has_changes():
            before[name] = history.deleted[0] if history.deleted else None
            after[name] = history.added[0] if history.added else None
    return before, after


def _told_columns(row: Any) -> Collection[str]:
    """Names of the columns that are neither sealed nor a secret's hash."""
    columns = inspect(type(row)).column_attrs
    return [one.key for one in columns if one.key not in HASHES and not isinstance(one.columns[0].type, LargeBinary)]
