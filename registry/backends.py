"""What SQLite and PostgreSQL are told differently; all other SQL of the registry is the same for both."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    URL,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    cast,
    create_engine,
    event,
    func,
    literal,
    select,
    text,
    type_coerce,
)
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session

LOCK_WAIT_S = 30
"""Who waits longer for what another transaction has locked, gives up."""
IDLE_IN_TRANSACTION_S = 60
"""PostgreSQL ends a transaction that does nothing for longer: its process hangs, and others wait for its locks."""
SCHEMA_LOCK = 0x5357_4942
"""Of the database, for PostgreSQL's advisory locks: held while the schema is brought up to date."""
OUTCOMES_LOCK = 0x5357_4943
"""Likewise: held by who adds outcomes, from before their ids are given out to the end of the transaction."""
PRICE_LOG_LOCK = 0x5357_4944
"""Likewise: held by who adds lines to the log of baselines."""
ENGINE_COST_LOCK = 0x5357_4945
"""Likewise: held by who adds lines to the log of engine costs."""
AUDIT_LOCK = 0x5357_4946
"""Likewise: held by who adds lines to the audit log."""
BLOBS_LOCK = 0x5357_4980
"""Likewise: held by who publishes a version, and by who removes the bytes of one."""

_AWAY_SOON = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""Seconds after which a PostgreSQL host that does not answer is taken for gone, unless the URL says otherwise."""
_DUPLICATE = ("23505", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY")
_CONTENTION = ("40001", "40P01", "55P03", "SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT")


# The module asks each of these how it wants to be stored, and raises and drops an error inside for the answer that it
# is fine as it is: twice as long as to store it, for half of the values of a row.
sqlite3.register_adapter(bytes, bytes.__bytes__)
sqlite3.register_adapter(bool, int)
sqlite3.register_adapter(type(None), {}.get)  # type: ignore[arg-type]


def make_engine(url: URL) -> Engine:
    """An engine that has connected to nothing yet. Raises `ArgumentError` or `ImportError` for another database."""
    kind = url.get_backend_name()
    if kind == "sqlite":
        engine = create_engine(url, connect_args={"timeout": LOCK_WAIT_S}, hide_parameters=True)
        _prepare_sqlite(engine)
        return engine
    if kind != "postgresql":
        raise ArgumentError(f"{kind} is not supported; choose from sqlite, postgresql")
    timeouts = {name: value for name, value in _AWAY_SOON.items() if name not in url.query}
    # Its server may have restarted meanwhile. Errors are logged, so they must not have what was to be stored in them.
    engine = create_engine(url, pool_pre_ping=True, connect_args=timeouts, hide_parameters=True)
    _prepare_postgresql(engine)
    return engine


def with_snapshots(engine: Engine) -> Engine:
    """The same engine, where all reads of a transaction see the database as it was at the first of them."""
    if engine.dialect.name == "sqlite":
        return engine  # it does so as it is
    return engine.execution_options(isolation_level="REPEATABLE READ")


def lock_schema(connection: Connection) -> None:
    """Let nobody else change the schema before this transaction ends. It is one that writes."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time as it is
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": SCHEMA_LOCK})


def number_in_order(session: Session, lock: int) -> None:
    """Let nobody else add rows under this lock before this transaction ends: so a row that can be seen has no smaller
    id to come after it, and who reads on from the last id that it saw misses none.
    """
    hold(session, lock)


def hold(session: Session, lock: int) -> None:
    """Let nobody else have this lock before this transaction, which writes, ends."""
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time as it is
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})


def insert_into(session: Session, table: Table) -> Any:
    """An INSERT that has `on_conflict_do_nothing` and `on_conflict_do_update`."""
    if session.get_bind().dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    return insert(table)


def given_rows(session: Session, columns: Sequence[Column[Any]], rows: Sequence[Sequence[Any]]) -> Select[Any]:
    """A query that finds these rows, under the names and of the types of these columns; one parameter, however many."""
    document = literal(orjson.dumps(rows).decode())
    cells: Iterable[ColumnElement[Any]]
    if session.get_bind().dialect.name == "sqlite":
        each = func.json_each(document).table_valued("value")
        values = (func.json_extract(each.c.value, f"$[{at}]") for at in range(len(columns)))
        cells = (type_coerce(value, column.type) for value, column in zip(values, columns, strict=True))
    else:
        each = func.json_array_elements(cast(document, JSON)).table_valued("value")
        cells = (cast(each.c.value.op("->>")(at), column.type) for at, column in enumerate(columns))
    named = (cell.label(column.name) for cell, column in zip(cells, columns, strict=True))
    return select(*named).select_from(each)


def is_duplicate(error: DBAPIError) -> bool:
    """Whether a row is there already with what must be unique."""
    return _code(error) in _DUPLICATE


def is_contention(error: DBAPIError) -> bool:
    """Whether another transaction was in the way: the same may succeed when it is tried again."""
    return _code(error) in _CONTENTION


def _code(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", None)


def _prepare_sqlite(engine: Engine) -> None:
    """WAL lets readers go on while one writes; BEGIN IMMEDIATE makes writers queue instead of failing half-way."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # sqlite3 must not begin transactions behind our back
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("switchyard_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgresql(engine: Engine) -> None:
    """Nothing waits for ever: not for a lock, and not for who holds one and hangs."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        connection.execute(f"SET lock_timeout = '{LOCK_WAIT_S}s'")
        connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_S}s'")
        connection.autocommit = False
