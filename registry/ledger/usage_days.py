"""Usage added up by UTC day: reports and budgets read these sums, so that neither becomes slower with every request
there ever was.

A sum is of one day, writer of a journal, and what the usage record marks as kept apart (tenant, key, served model,
adapter, split, arm, whether they are copies, outcome; unknown is 0, false or empty). Corrections are sums of a writer
of their own, under the day of the attempt that they are of. Triggers add attempts and corrections up in the transaction
that books them (migration 0024), so that whoever books them, the sums are right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

from registry.days import DAY_MS, date_of
from registry.db import now_ms
from registry.ledger.rows import DAY_SUMS, USAGE, USAGE_DAYS, UsageCorrection
from registry.ledger.usage_record import CORRECTABLE, DAY_KEYS
from registry.names import SYSTEM

BILLED = ("ok", "client_aborted")
"""Outcomes that a tenant pays for. What failed on our side is free, whatever the engine has counted."""
UNTOUCHED = ("rejected", "load_failed")
"""Outcomes of attempts that no engine has worked on."""
CORRECTIONS = "corrections"
"""The writer of what was corrected afterwards: its sums may be negative."""
FRONT, NUMBER_CHARS = "usage-", len("-000001")
"""What the name of a segment has around its writer's."""

KEYS = tuple(column.name for column in USAGE_DAYS.primary_key)
KEPT_APART = tuple(column.name for column in DAY_KEYS)


def usage_between(since_ms: int, until_ms: int) -> Subquery:
    """Columns of `USAGE_DAYS`, to be added up further: attempts that began in `[since_ms, until_ms)`, and corrections
    of them. Days that the window has whole are read as they are stored; what it has of a day's edge, row by row.
    """
    first, end = -(-since_ms // DAY_MS), until_ms // DAY_MS
    if until_ms > now_ms():
        end = -(-until_ms // DAY_MS)  # nothing has begun later
    parts = [select(USAGE_DAYS).where(USAGE_DAYS.c.day >= first, USAGE_DAYS.c.day < end)]
    began = USAGE.c.started_at_ms
    if first > end:
        parts += _by_row(and_(began >= since_ms, began < until_ms))
    elif first * DAY_MS > since_ms or end * DAY_MS < until_ms:
        head = and_(began >= since_ms, began < first * DAY_MS)
        parts += _by_row(or_(head, and_(began >= end * DAY_MS, began < until_ms)))
    return union_all(*parts).subquery("used")


def wrong_days(session: Session) -> list[str]:
    """Days, `YYYY-MM-DD`, of which other sums are stored than the rows and corrections come to."""
    stored, right = (
        {row[: len(KEYS)]: row for query in queries for row in map(tuple, session.execute(query))}
        for queries in ([select(USAGE_DAYS)], _summed())
    )
    wrong = {key[0] for key in right.keys() | stored.keys() if right.get(key) != stored.get(key)}
    return [date_of(day) for day in sorted(wrong)]


def sum_again(session: Session) -> None:
    """Make all of the sums anew, from the rows and corrections."""
    session.connection().execute(delete(USAGE_DAYS))
    for query in _summed():
        session.connection().execute(USAGE_DAYS.insert().from_select(USAGE_DAYS.c.keys(), query))


def _summed() -> Iterator[Select[Any]]:
    """What the table should have, of attempts and of corrections."""
    for rows in _by_row(true()):
        each = rows.subquery().c
        keys, sums = {name: each[name] for name in KEYS}, {name: func.sum(each[name]) for name in DAY_SUMS}
        times = {"first_ms": func.min(each.first_ms), "last_ms": func.max(each.last_ms)}
        yield _in_order({**keys, **sums, **times}).group_by(*keys.values())


def _by_row(where: ColumnElement[bool]) -> list[Select[Any]]:
    """Attempts and corrections in the columns of `USAGE_DAYS`; `where` is about the attempt."""
    row, correction = USAGE.c, UsageCorrection
    writer = func.substr(row.segment, len(FRONT) + 1, func.length(row.segment) - len(FRONT) - NUMBER_CHARS)
    of: dict[str, ColumnElement[Any]] = {name: func.coalesce(row[name], _unknown(row[name])) for name in KEPT_APART}
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
