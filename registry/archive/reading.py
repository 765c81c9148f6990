"""Queries of usage rows over those that are in archives: DuckDB answers them in a process of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Dialect, Row, Select, and_, or_, select
from sqlalchemy.orm import Session

from registry.archive.rows import UsageArchive
from registry.archive.schema import SCHEMA
from registry.children.asked import ChildGone, ChildSlow, ask_once
from registry.days import date_of
from registry.db import BLOBS_AT
from registry.errors import RegistryError

CHILD = (sys.executable, "-m", "registry.archive.child")
ANSWERS_WITHIN_S = 25.0
"""To wait for who reads before, and again to be answered: together less than PostgreSQL lets a transaction idle
(`registry.backends.IDLE_IN_TRANSACTION_S`), as the reader's is open."""
_ONE_AT_A_TIME = threading.Lock()
"""Of a process's threads: a child may take `registry.archive.parquet.MEMORY`."""
Windows = Sequence[tuple[int, int]]
"""`[since, until)` each, in milliseconds since the epoch."""


class ArchiveUnreadable(RegistryError):
    """Attempts are in archives that cannot be opened here and now."""


def archived_rows(
    session: Session, queries: Sequence[Select[Any]], windows: Windows, *, running: bool = False
) -> list[list[list[Any]]]:
    """Of each query the rows that it finds in archives of attempts that began in these windows (with `running`: that
    ran in them); the queries must say themselves which attempts they mean, and may be of the tables `usage` and
    `usage_corrections` alone.

    One snapshot with what else the session, which reads, is asked: an attempt is in the table or in an archive. Most
    often there is none, and this is a look at an index. Raises `ArchiveUnreadable`.
    """
    found = session.execute(
        select(UsageArchive.name, UsageArchive.digest, UsageArchive.day)
        .where(UsageArchive.restored_at_ms.is_(None), or_(*(_within(*window, running) for window in windows)))
        .order_by(UsageArchive.name)
    ).all()
    if not windows or not found:
        return [[] for _ in queries]
    blobs_at: Callable[[], tuple[str, Mapping[str, str]]] | None = session.info.get(BLOBS_AT)
    if blobs_at is None:
        raise ArchiveUnreadable(f"attempts of {_days(found)} are archived, and it was not said where archives are")
    question = {
        "storage": blobs_at(),
        "files": [[one.name, one.digest] for one in found],
        "schema": SCHEMA,
        "halves": halves_of(session),
        "queries": [in_duckdb(query) for query in queries],
    }
    answer = _asked(question, f"attempts of {_days(found)} are archived, and cannot be read")
    rows: list[list[list[Any]]] = answer["found"]
    return rows


def _within(since_ms: int, until_ms: int, running: bool) -> ColumnElement[bool]:
    ends = UsageArchive.ended_ms if running else UsageArchive.last_ms
    return and_(UsageArchive.first_ms < until_ms, ends >= since_ms)


def _days(found: Sequence[Row[str, str, int]]) -> str:
    days = sorted({one.day for one in found})
    return date_of(days[0]) + (f" to {date_of(days[-1])}" if len(days) > 1 else "")


def _asked(question: dict[str, Any], fault: str) -> dict[str, Any]:
    if not _ONE_AT_A_TIME.acquire(timeout=ANSWERS_WITHIN_S):
        raise ArchiveUnreadable(f"{fault} now: others read archives; try again")
    try:
        return _answer(question, fault)
    finally:
        _ONE_AT_A_TIME.release()


def _answer(question: dict[str, Any], fault: str) -> dict[str, Any]:
    try:
        said = ask_once("the reader", CHILD, orjson.dumps(question) + b"\n", within_s=ANSWERS_WITHIN_S)
    except ChildSlow:
        raise ArchiveUnreadable(f"{fault} within {ANSWERS_WITHIN_S:g} s; ask for less, or restore them") from None
    except ChildGone as gone:
        raise ArchiveUnreadable(f"{fault}: {gone}") from None
    answer: dict[str, Any] = orjson.loads(said)
    if "fault" in answer:
        raise ArchiveUnreadable(f"{fault}: {answer['fault']}")
    return answer


def halves_of(session: Session) -> str:
    """What its database makes of halves when it rounds (`registry.archive.parquet.opened`)."""
    return "even" if session.get_bind().dialect.name == "postgresql" else "away"


def in_duckdb(query: Select[Any]) -> str:
    """The query as DuckDB understands it: nearly as PostgreSQL does."""
    compiled = query.compile(dialect=_dialect(), compile_kwargs={"literal_binds": True})
    return str(compiled).replace("round(", "ledger_round(")


@cache
def _dialect() -> Dialect:
    from sqlalchemy.dialects import postgresql

    return postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
