"""What a transaction changes of the catalog: found in the rows that it writes, so that no writer has to say it.

Every row of a watched table has the name of a thing in the catalog. At its commit a transaction that wrote such rows
raises the catalog revision by one and stores their names under it. Gateways read the names that came after the
revision that they have in force, and then those things only (`registry.catalog.reader.update_catalog`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, event, insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import ORMExecuteState, Session

from registry.adapters.rows import Adapter, Alias, Version
from registry.audit.changes import ChangedRows
from registry.audit.order import CARRIES_OUT, Order
from registry.backends import is_duplicate
from registry.bases.rows import BaseModel
from registry.limits.rows import Limit
from registry.operators.rows import OperatorKey
from registry.prices.rows import Tariff
from registry.shadows.rows import Shadow
from registry.splits.rows import Split
from registry.tables import Base, CatalogChange, CatalogRevision
from registry.tenants.rows import ApiKey, ModelMap, Tenant

KEPT_REVISIONS = 1_000
"""How far back changes are kept. A catalog older than that is read whole, which is then hardly slower."""

KEY, TENANT, ADAPTER, MODEL_MAP, BASE = "key", "tenant", "adapter", "model_map", "base"
TARIFF, LIMIT, OPERATOR = "tariff", "limit", "operator"


@dataclass(frozen=True, slots=True)
class Change:
    """The name of something in the catalog that is not as it was: made, changed, or gone.

    `key` by `kind`: the SHA-256 in hex of a tenant's or an operator's key, a tenant's name, `tenant/adapter` (for its
    versions, aliases, splits and shadows too), `tenant/external name`, a base model's name, the scope of a price or
    limit. No row ever changes the columns that name it.
    """

    kind: str
    key: str


WATCHED: dict[type[Any], Callable[[Session, Any], Change]] = {
    ApiKey: lambda _, row: Change(KEY, row.sha256),
    Tenant: lambda _, row: Change(TENANT, row.name),
    BaseModel: lambda _, row: Change(BASE, row.name),
    ModelMap: lambda _, row: Change(MODEL_MAP, f"{row.tenant}/{row.external}"),
    Adapter: lambda _, row: _adapter(row),
    Version: lambda session, row: _adapter(session.get_one(Adapter, row.adapter_id)),
    Alias: lambda session, row: _adapter(session.get_one(Adapter, row.adapter_id)),
    Split: lambda session, row: _adapter(session.get_one(Adapter, row.adapter_id)),
    Shadow: lambda session, row: _adapter(session.get_one(Adapter, row.adapter_id)),
    Tariff: lambda _, row: Change(TARIFF, row.scope),
    Limit: lambda _, row: Change(LIMIT, row.scope),
    OperatorKey: lambda _, row: Change(OPERATOR, row.sha256),
}
"""The tables that the catalog is made of, each with the name of what one of its rows changes."""


def _adapter(row: Adapter) -> Change:
    return Change(ADAPTER, f"{row.tenant}/{row.name}")


class WriteSession(Session):
    """A session that notes what it changes of the catalog, and tells gateways when it commits; and what it changes at
    all for an operator's order, which the audit log is told.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._noted: set[Change] = set()
        self._told: set[Change] = set()
        self._revision: int | None = None
        self._order: Order | None = self.info.get(CARRIES_OUT)
        self._changed = None if self._order is None else ChangedRows(self._order)

    def catalog_revision(self) -> int:
        """The revision that will show what this transaction has changed of the catalog. It must have changed something.

        The revision's row is locked from here to the commit, on which everything else is locked before it: so
        revisions appear in their order, and writers cannot lock each other out.
        """
        self.flush()
        assert self._noted, "this transaction has changed nothing of the catalog"
        if self._revision is None:
            raised = update(CatalogRevision).values(value=CatalogRevision.value + 1).returning(CatalogRevision.value)
            self._revision = self.execute(raised).scalar_one()
            self.execute(delete(CatalogChange).where(CatalogChange.revision <= self._revision - KEPT_REVISIONS))
        news = [
            {"revision": self._revision, "kind": change.kind, "key": change.key} for change in self._noted - self._told
        ]
        if news:
            self.execute(insert(CatalogChange), news)
            self._told |= self._noted
        return self._revision

    def add_new(self, row: Base) -> bool:
        """Insert a row at once; False when the database has one already with what must be unique.

        What the transaction did before stays. Where another transaction inserts the same, this waits for its end.
        """
        self.flush()
        try:
            with self.begin_nested():
                self.add(row)
        except IntegrityError as error:
            if is_duplicate(error):
                return False
            raise
        return True

    def note(self, change: Change) -> None:
        """Note a change that no row of a flush shows."""
        self._noted.add(change)

    def note_changes(self) -> None:
        """Note what the rows of a flush change; their ids are known, and their state is still that before it."""
        if self._changed is not None:
            self._changed.see_flush(self)
        changed = [row for row in self.dirty if self.is_modified(row)]
        for row in (*self.new, *changed, *self.deleted):
            if name := WATCHED.get(type(row)):
                self._noted.add(name(self, row))

    def flush_changes(self) -> None:
        """Before the commit: nothing that was noted stays untold."""
        self.flush()
        if self._noted:
            self.catalog_revision()
        if self._changed is not None and self._order is not None:
            from registry.audit.log import write_changes  # its table is for who has an order

            changed, self._changed = self._changed, None
            write_changes(self, self._order, changed)

    def note_statement(self, table: str, verb: str) -> None:
        """Note a statement that writes rows past the session."""
        if self._changed is not None:
            self._changed.see_statement(table, verb)


@event.listens_for(WriteSession, "after_flush")
def _on_flush(session: WriteSession, _flush_context: Any) -> None:
    session.note_changes()


@event.listens_for(WriteSession, "before_commit")
def _on_commit(session: WriteSession) -> None:
    if not session.in_nested_transaction():  # at the end of a savepoint it is too early to lock the revision's row
        session.flush_changes()


@event.listens_for(WriteSession, "do_orm_execute")
def _on_execute(statement: ORMExecuteState) -> None:
    """A statement that writes rows which the session does not see would leave gateways without the news."""
    if statement.is_insert or statement.is_update or statement.is_delete:
        table: str = statement.statement.table.name  # type: ignore[attr-defined]
        if any(table == model.__tablename__ for model in WATCHED):
            raise TypeError(
                f"this statement writes {table} past the session; add, change or delete its rows one by one, "
                "so that gateways learn of them"
            )
        if isinstance(statement.session, WriteSession):
            verb = "insert" if statement.is_insert else "update" if statement.is_update else "delete"
            statement.session.note_statement(table, verb)
