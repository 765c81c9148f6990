"""Rows that are appended to one table, in one transaction and as few steps as it takes.

A thread that talks to a database gives the interpreter up at every step, and waits for it again: up to 5 ms while the
event loop is busy. So many rows are one statement, and nothing but statements is done. Between two groups the processor
has forgotten everything: to take a connection from a pool and give it back costs a third of a group of ten rows then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any, Protocol

from sqlalchemy import Engine, PoolProxiedConnection, Table, event
from sqlalchemy.exc import DBAPIError

MOST_AT_ONCE = 64
"""Rows of a statement: a connection remembers a hundred statements, and so all of one table's."""


class Counted(Protocol):
    """What has come of a statement."""

    @property
    def rowcount(self) -> int:
        """How many rows it has written."""


class Appender:
    """Appends rows to one table. For any number of threads."""

    def __init__(
        self, engine: Engine, table: Table, columns: Sequence[str] | None = None, *, passes_known: bool = False
    ) -> None:
        """`columns` are those that are written; `None`: all, in the table's order. With `passes_known` a row whose
        primary key is there already is passed over; else it is an error.
        """
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        quote = engine.dialect.identifier_preparer.quote
        names = [one.name for one in table.columns] if columns is None else columns
        self._into = f"INSERT INTO {quote(table.name)} ({', '.join(map(quote, names))}) VALUES "  # noqa: S608 - names of our own
        mark = "?" if self._is_sqlite else "%s"
        self._row = f"({', '.join([mark] * len(names))})"
        key = ", ".join(quote(one.name) for one in table.primary_key)
        self._end = f" ON CONFLICT ({key}) DO NOTHING" if passes_known else ""
        self._statement = lru_cache(self._statement_of)
        self._idle: list[PoolProxiedConnection] = []
        """At most one, from one transaction to the next, and of SQLite alone: a server may be gone by then."""
        event.listen(engine, "engine_disposed", lambda _engine: self._close_idle())

    def append(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Insert all of them or none; each has a value for every column. How many were new. Raises `DBAPIError`."""
        with self._transaction(is_one=len(rows) <= MOST_AT_ONCE) as cursor:
            return self.insert(cursor.execute, rows)

    def insert(self, execute: Callable[[str, tuple[Any, ...]], Counted], rows: Sequence[tuple[Any, ...]]) -> int:
        """Insert them in a transaction of the caller's, who executes statements in the driver's own words. How many
        were new.
        """
        done = new = 0
        while left := len(rows) - done:
            count = min(MOST_AT_ONCE, left)
            new += execute(self._statement(count), tuple(chain.from_iterable(rows[done : done + count]))).rowcount
            done += count
        return new

    @contextmanager
    def _transaction(self, *, is_one: bool) -> Iterator[Any]:
        """One of a single statement is what SQLite makes of that by itself, in one step instead of three."""
        connection = self._connection()
        keeps = False
        try:
            cursor = connection.cursor()
            if self._is_sqlite and not is_one:
                cursor.execute("BEGIN IMMEDIATE")
            yield cursor
            connection.commit()
            keeps = self._is_sqlite and not self._idle  # never one that may have a transaction open
        except self._dbapi_error as error:
            connection.invalidate(error)
            raise self._as_ours(error) from error
        finally:
            if keeps:
                self._idle.append(connection)
            else:
                connection.close()

    def _connection(self) -> PoolProxiedConnection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._engine.raw_connection()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().invalidate()  # which closes it: its pool is gone

    @property
    def _dbapi_error(self) -> type[Exception]:
        dbapi = self._engine.dialect.loaded_dbapi
        return dbapi.Error

    def _as_ours(self, error: Exception) -> BaseException:
        return DBAPIError.instance(None, None, error, self._dbapi_error, dialect=self._engine.dialect)

    def _statement_of(self, count: int) -> str:
        return self._into + ", ".join([self._row] * count) + self._end
