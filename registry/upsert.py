"""Rows that may be there already: the one way to store them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import CursorResult, Table
from sqlalchemy.orm import Session

from registry.backends import insert_into
from registry.tables import Base


def upsert(
    session: Session,
    into: type[Base] | Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    replace: Collection[str] = (),
    add: Collection[str] = (),
) -> int:
    """Store rows by the columns of their table, in one statement; how many of them were written.

    Of a row whose primary key is there already only the columns in `replace` get the new values, and to those in `add`
    the new values are added; without any it stays as it is, and does not count. Not for tables that the catalog is made
    of: a session that watches these refuses it with a `TypeError`.
    """
    if not rows:
        return 0
    # Not the class: the ORM would do work for each row.
    table = into if isinstance(into, Table) else cast("Table", into.__table__)
    statement = insert_into(session, table)
    changes = {name: statement.excluded[name] for name in replace}
    changes |= {name: table.c[name] + statement.excluded[name] for name in add}
    if changes:
        statement = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changes)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=list(table.primary_key))
    done = session.execute(statement.execution_options(preserve_rowcount=True), list(rows))
    return cast("CursorResult[Any]", done).rowcount
