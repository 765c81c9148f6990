"""Usage added up by UTC day: reports and budgets read these sums, so that neither becomes slower with every request
there ever was.

A sum is of one day, writer of a journal, and what the usage record marks as kept apart (tenant, key, served model,
engine, adapter, split, arm, whether they are copies, outcome; unknown is 0, false or empty). Corrections are sums of a
writer of their own, under the day of the attempt that they are of. Triggers add attempts and corrections up in the
transaction that books them (migration 0041), so that whoever books them, the sums are right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Select,
    String,
    Subquery,
    and_,
    case,
    delete,
    false,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Session

from registry.archive.reading import archived_rows
from registry.archive.rows import UsageArchive
from registry.backends import given_rows
from registry.days import DAY_MS, date_of
from registry.db import now_ms
from registry.ledger.rows import DAY_SUMS, DAY_TIMES, USAGE, USAGE_DAYS, UsageCorrection
from registry.ledger.usage_record import CORRECTABLE, DAY_KEYS
from registry.names import SYSTEM
from registry.upsert import upsert

BILLED = ("ok", "client_aborted", "key_revoked")
"""Outcomes that a tenant pays for. What failed on our side is free, whatever the engine has counted."""
UNTOUCHED = ("rejected", "load_failed")
"""Outcomes of attempts that no engine has worked on."""
LEFT = ("client_aborted", "key_revoked")
"""Outcomes of attempts that ended with their client: that nobody knows their tokens is nobody's fault."""
ENGINE = func.coalesce(USAGE.c.engine_id, USAGE.c.engine)
"""Of a usage row: the engine's id, or its URL in rows from before there was one."""
CORRECTIONS = "corrections"
"""The writer of what was corrected afterwards: its sums may be negative."""
FRONT, NUMBER_CHARS = "usage-", len("-000001")
"""What the name of a segment has around its writer's."""

KEYS = tuple(column.name for column in USAGE_DAYS.primary_key)
KEPT_APART = tuple(column.name for column in DAY_KEYS)
NAMES = tuple(column.name for column in USAGE_DAYS.c)


def usage_between(session: Session, since_ms: int, until_ms: int) -> Subquery:
    """Columns of `USAGE_DAYS`, to be added up further: attempts that began in `[since_ms, until_ms)`, and corrections
    of them. Days that the window has whole are read as they are stored, and so is the day that is running if nothing
    began after the window; what it has of a day's edge, row by row, in archives too. Ask it of this session, which
    reads. Raises `ArchiveUnreadable`.
    """
    first, end = -(-since_ms // DAY_MS), until_ms // DAY_MS
    if _is_last(session, until_ms):
        end = -(-until_ms // DAY_MS)
    parts = [select(USAGE_DAYS).where(USAGE_DAYS.c.day >= first, USAGE_DAYS.c.day < end)]
    edges = [(since_ms, until_ms)] if first > end else [(since_ms, first * DAY_MS), (end * DAY_MS, until_ms)]
    if edges := [(begin_ms, end_ms) for begin_ms, end_ms in edges if begin_ms < end_ms]:
        began = USAGE.c.started_at_ms
        where = or_(*(and_(began >= begin_ms, began < end_ms) for begin_ms, end_ms in edges))
        parts += _by_row(where)
        archived = [row for rows in archived_rows(session, list(summed(where)), edges) for row in rows]
        if archived:
            parts.append(given_rows(session, list(USAGE_DAYS.c), archived))
    return union_all(*parts).subquery("used")


def _is_last(session: Session, until_ms: int) -> bool:
    """Whether nothing that is known began on the UTC day of an instant and not before it. Of days before today that is
    not asked: their rows may be in archives.
    """
    at_ms = now_ms()
    if until_ms > at_ms or until_ms // DAY_MS < at_ms // DAY_MS:
        return until_ms > at_ms
    later = select(literal(1)).where(USAGE.c.started_at_ms >= until_ms, USAGE.c.started_at_ms < _day_end_ms(until_ms))
    return session.execute(later.limit(1)).first() is None


def _day_end_ms(at_ms: int) -> int:
    return (at_ms // DAY_MS + 1) * DAY_MS


def wrong_days(session: Session, day: int | None = None) -> list[str]:
    """Days, `YYYY-MM-DD`, of which other sums are stored than the rows and corrections come to, those in archives
    included; with `day` of this one alone.
    """
    of_day: ColumnElement[bool] = true()
    is_stored: ColumnElement[bool] = true()
    if day is not None:
        of_day = and_(USAGE.c.started_at_ms >= day * DAY_MS, USAGE.c.started_at_ms < (day + 1) * DAY_MS)
        is_stored = USAGE_DAYS.c.day == day
    stored = {row[: len(KEYS)]: row for row in map(tuple, session.execute(select(USAGE_DAYS).where(is_stored)))}
    right: dict[tuple[Any, ...], tuple[Any, ...]]
    right = {row[: len(KEYS)]: row for query in summed(of_day) for row in map(tuple, session.execute(query))}
    for row in _archived(session, day):
        key = row[: len(KEYS)]
        right[key] = row if key not in right else _added(right[key], row)
    wrong = {key[0] for key in right.keys() | stored.keys() if _figures(right.get(key)) != _figures(stored.get(key))}
    return [date_of(day) for day in sorted(wrong)]


def sum_again(session: Session) -> None:
    """Make all of the sums anew, from the rows, corrections and archives."""
    session.connection().execute(delete(USAGE_DAYS))
    for query in summed(true()):
        session.connection().execute(USAGE_DAYS.insert().from_select(USAGE_DAYS.c.keys(), query))
    stored = {row[: len(KEYS)]: row for row in map(tuple, session.execute(select(USAGE_DAYS)))}
    for row in _archived(session, None):
        key = row[: len(KEYS)]
        stored[key] = row if key not in stored else _added(stored[key], row)
    documents = [dict(zip(NAMES, row, strict=True)) for row in stored.values()]
    upsert(session, USAGE_DAYS, documents, replace=NAMES[len(KEYS) :])


def _archived(session: Session, day: int | None) -> Iterator[tuple[Any, ...]]:
    """What archives come to, in the columns of `USAGE_DAYS`; a key may come more than once."""
    query = select(UsageArchive.sums).where(UsageArchive.restored_at_ms.is_(None))
    if day is not None:
        query = query.where(UsageArchive.day == day)
    for sums in session.scalars(query):
        yield from rows_of(sums)


def rows_of(sums: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """The sums of an archive in the columns of `USAGE_DAYS`, of which some may be younger than it."""
    for one in sums:
        yield tuple(one.get(column.name, _absent(column)) for column in USAGE_DAYS.c)


def _figures(row: Sequence[Any] | None) -> tuple[Any, ...]:
    """Of a row, without its key; empty where all of it has been taken off again, as where there is none."""
    figures = () if row is None else tuple(row[len(KEYS) :])
    return figures if any(figures[: len(DAY_SUMS)]) else ()


def _absent(column: ColumnElement[Any]) -> Any:
    """Of a column that the archive is older than."""
    if column.name in DAY_TIMES:
        return None
    return "" if isinstance(column.type, String) else False if isinstance(column.type, Boolean) else 0


def _added(one: Sequence[Any], other: Sequence[Any]) -> tuple[Any, ...]:
    """Of two rows with the same key, the one that they come to."""
    sums = len(KEYS) + len(DAY_SUMS)
    figures = (a + b for a, b in zip(one[len(KEYS) : sums], other[len(KEYS) : sums], strict=True))
    firsts, lasts = ([time for time in (one[at], other[at]) if time is not None] for at in (sums, sums + 1))
    return (*one[: len(KEYS)], *figures, min(firsts, default=None), max(lasts, default=None))


def summed(where: ColumnElement[bool]) -> Iterator[Select[Any]]:
    """What the table should have, of attempts and of their corrections; `where` is about the attempt."""
    for rows in _by_row(where):
        each = rows.subquery().c
        keys, sums = {name: each[name] for name in KEYS}, {name: func.sum(each[name]) for name in DAY_SUMS}
        times = {"first_ms": func.min(each.first_ms), "last_ms": func.max(each.last_ms)}
        yield _in_order({**keys, **sums, **times}).group_by(*keys.values())


def _by_row(where: ColumnElement[bool]) -> list[Select[Any]]:
    """Attempts and corrections in the columns of `USAGE_DAYS`; `where` is about the attempt."""
    row, correction = USAGE.c, UsageCorrection
    writer = func.substr(row.segment, len(FRONT) + 1, func.length(row.segment) - len(FRONT) - NUMBER_CHARS)
    of: dict[str, ColumnElement[Any]] = {name: func.coalesce(row[name], _unknown(row[name])) for name in KEPT_APART}
    of["engine_id"] = ENGINE
    of["day"] = row.started_at_ms // DAY_MS
    billed = row.outcome.in_(BILLED)
    attempts = {
        **of,
        "writer": func.coalesce(writer, ""),
        "attempts": literal(1),
        "unmetered": _flag(row.completion_tokens.is_(None) & row.outcome.not_in(UNTOUCHED)),
        "unpriced": _flag(row.cost_nano.is_(None) & billed & (row.tenant != SYSTEM) & row.shadow.is_not(True)),
        "partial": _flag(row.usage_source == "partial"),
        "estimated": _flag(row.usage_source == "estimated"),
        **{name: func.coalesce(row[name], 0) for name in CORRECTABLE},
        "busy_ms": func.coalesce(row.finished_at_ms - row.started_at_ms, 0),
        "ttft_us": sql_cast(func.round(func.coalesce(row.ttft_ms, 0) * 1000), BigInteger),
        "with_ttft": _flag(row.ttft_ms.is_not(None)),
        "first_ms": row.started_at_ms,
        "last_ms": func.coalesce(row.finished_at_ms, row.started_at_ms),
    }
    corrected = {
        **of,
        "writer": literal(CORRECTIONS),
        **dict.fromkeys(DAY_SUMS, literal(0)),
        **{name: getattr(correction, name) for name in CORRECTABLE},
        "first_ms": sql_cast(null(), BigInteger),
        "last_ms": sql_cast(null(), BigInteger),
    }
    return [
        _in_order(attempts).where(where),
        _in_order(corrected).join_from(correction, USAGE, row.attempt_id == correction.attempt_id).where(where),
    ]


def _in_order(columns: Mapping[str, ColumnElement[Any]]) -> Select[Any]:
    """As the table has them."""
    return select(*(columns[column.name].label(column.name) for column in USAGE_DAYS.c))


def _unknown(column: ColumnElement[Any]) -> Any:
    """What stands for NULL in a key."""
    return "" if isinstance(column.type, String) else false() if isinstance(column.type, Boolean) else 0


def _flag(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)
