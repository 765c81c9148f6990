"""Usage added up by UTC day, in the transaction that books it: reports and budgets read these sums, so that neither
becomes slower with every request there ever was.

A sum is of one day, writer of a journal, tenant, key, served model and outcome. Corrections are sums of a writer of
their own, under the day of the attempt that they are of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Subquery,
    Table,
    and_,
    case,
    delete,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from registry.db import now_ms
from registry.models import UsageCorrection, UsageDay, UsageRow
from registry.names import SYSTEM
from registry.windows import DAY_MS

BILLED = ("ok", "client_aborted")
"""Outcomes that a tenant pays for. What failed on our side is free, whatever the engine has counted."""
UNTOUCHED = ("rejected", "load_failed")
"""Outcomes of attempts that no engine has worked on."""
CORRECTIONS = "corrections"
"""The writer of what was corrected afterwards: its sums may be negative."""
CORRECTABLE = ("prompt_tokens", "cached_tokens", "completion_tokens", "cost_nano")
FRONT, NUMBER_CHARS = "usage-", len("-000001")
"""What the name of a segment has around its writer's."""

Key = tuple[int, str, str, str, str, str]
DAYS = cast("Table", UsageDay.__table__)
KEYS = tuple(column.name for column in DAYS.primary_key)
COLUMNS = tuple(column.name for column in DAYS.columns)
SUMS = tuple(name for name in COLUMNS if name not in (*KEYS, "first_ms", "last_ms"))


class DaySums:
    """Adds up what is about to be booked, or what was."""

    def __init__(self) -> None:
        self._sums: dict[Key, list[int]] = {}
        self._times: dict[Key, tuple[int, int]] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """One attempt, by the columns of its usage row; those without a value may be missing."""
        value = row.get
        began_ms, outcome, tenant = row["started_at_ms"], row["outcome"], row["tenant"]
        ended_ms, ttft_ms, source = value("finished_at_ms"), value("ttft_ms"), value("usage_source")
        completion, cost = value("completion_tokens"), value("cost_nano")
        self._add(
            (began_ms // DAY_MS, _writer(value("segment")), tenant, row["key_id"], row["served_model"], outcome),
            (
                1,
                int(completion is None and outcome not in UNTOUCHED),
                int(cost is None and outcome in BILLED and tenant != SYSTEM),
                int(source == "partial"),
                int(source == "estimated"),
                value("prompt_tokens") or 0,
                value("cached_tokens") or 0,
                completion or 0,
                cost or 0,
                0 if ended_ms is None else ended_ms - began_ms,
                0 if ttft_ms is None else round(ttft_ms * 1000),
                int(ttft_ms is not None),
            ),
            (began_ms, began_ms if ended_ms is None else ended_ms),
        )

    def correct(self, row: Mapping[str, Any], deltas: Mapping[str, int]) -> None:
        """One correction of an attempt."""
        key = (row["started_at_ms"] // DAY_MS, CORRECTIONS)
        self._add(
            (*key, row["tenant"], row["key_id"], row["served_model"], row["outcome"]),
            [deltas.get(name, 0) for name in SUMS],
        )

    def _add(self, key: Key, figures: Iterable[int], times: tuple[int, int] | None = None) -> None:
        known = self._sums.get(key)
        self._sums[key] = list(figures) if known is None else [a + b for a, b in zip(known, figures, strict=True)]
        if times is not None:
            first_ms, last_ms = self._times.get(key, times)
            self._times[key] = min(first_ms, times[0]), max(last_ms, times[1])

    def rows(self) -> Iterator[dict[str, Any]]:
        """As the table has them."""
        for key, figures in self._sums.items():
            first_ms, last_ms = self._times.get(key, (None, None))
            yield {
                **dict(zip(KEYS, key, strict=True)),
                **dict(zip(SUMS, figures, strict=True)),
                "first_ms": first_ms,
                "last_ms": last_ms,
            }


def _writer(segment: str | None) -> str:
    """Whose journal a segment is of; empty for what came by no journal."""
    return "" if segment is None else segment[len(FRONT) : -NUMBER_CHARS]


def add_sums(session: Session, sums: DaySums) -> None:
    """To those that are stored."""
    if not (rows := list(sums.rows())):
        return
    insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
    statement = insert(DAYS)
    new = statement.excluded
    added = {name: DAYS.c[name] + new[name] for name in SUMS}
    times = {
        "first_ms": case((new.first_ms < DAYS.c.first_ms, new.first_ms), else_=DAYS.c.first_ms),
        "last_ms": case((new.last_ms > DAYS.c.last_ms, new.last_ms), else_=DAYS.c.last_ms),
    }
    session.connection().execute(statement.on_conflict_do_update(index_elements=KEYS, set_={**added, **times}), rows)


def usage_between(since_ms: int, until_ms: int) -> Subquery:
    """Columns of `UsageDay`, to be added up further: attempts that began in `[since_ms, until_ms)`, and corrections of
    them. Days that the window has whole are read as they are stored; what it has of a day's edge, row by row.
    """
    first, end = -(-since_ms // DAY_MS), until_ms // DAY_MS
    if until_ms > now_ms():
        end = -(-until_ms // DAY_MS)  # nothing has begun later
    parts = [select(DAYS).where(DAYS.c.day >= first, DAYS.c.day < end)]
    began = UsageRow.started_at_ms
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
        for queries in ([select(DAYS)], _summed())
    )
    wrong = {key[0] for key in right.keys() | stored.keys() if right.get(key) != stored.get(key)}
    return [datetime.fromtimestamp(day * DAY_MS / 1000, UTC).strftime("%Y-%m-%d") for day in sorted(wrong)]


def sum_again(session: Session) -> None:
    """Make all of the sums anew, from the rows and corrections."""
    session.connection().execute(delete(DAYS))
    for query in _summed():
        session.connection().execute(DAYS.insert().from_select(COLUMNS, query))


def _summed() -> Iterator[Select[Any]]:
    """What the table should have, of attempts and of corrections."""
    for rows in _by_row(true()):
        each = rows.subquery().c
        keys, sums = {name: each[name] for name in KEYS}, {name: func.sum(each[name]) for name in SUMS}
        times = {"first_ms": func.min(each.first_ms), "last_ms": func.max(each.last_ms)}
        yield _in_order({**keys, **sums, **times}).group_by(*keys.values())


def _by_row(where: ColumnElement[bool]) -> list[Select[Any]]:
    """Attempts and corrections in the columns of `UsageDay`; `where` is about the attempt."""
    row, correction = UsageRow, UsageCorrection
    writer = func.substr(row.segment, len(FRONT) + 1, func.length(row.segment) - len(FRONT) - NUMBER_CHARS)
    of = {name: getattr(row, name) for name in ("tenant", "key_id", "served_model", "outcome")}
    of["day"] = row.started_at_ms // DAY_MS
    billed = row.outcome.in_(BILLED)
    attempts = {
        **of,
        "writer": func.coalesce(writer, ""),
        "attempts": literal(1),
        "unmetered": _flag(row.completion_tokens.is_(None) & row.outcome.not_in(UNTOUCHED)),
        "unpriced": _flag(row.cost_nano.is_(None) & billed & (row.tenant != SYSTEM)),
        "partial": _flag(row.usage_source == "partial"),
        "estimated": _flag(row.usage_source == "estimated"),
        **{name: func.coalesce(getattr(row, name), 0) for name in CORRECTABLE},
        "busy_ms": func.coalesce(row.finished_at_ms - row.started_at_ms, 0),
        "ttft_us": sql_cast(func.round(func.coalesce(row.ttft_ms, 0) * 1000), Integer),
        "with_ttft": _flag(row.ttft_ms.is_not(None)),
        "first_ms": row.started_at_ms,
        "last_ms": func.coalesce(row.finished_at_ms, row.started_at_ms),
    }
    corrected = {
        **of,
        "writer": literal(CORRECTIONS),
        **dict.fromkeys(SUMS, literal(0)),
        **{name: getattr(correction, name) for name in CORRECTABLE},
        "first_ms": null(),
        "last_ms": null(),
    }
    return [
        _in_order(attempts).where(where),
        _in_order(corrected).join_from(correction, row, row.attempt_id == correction.attempt_id).where(where),
    ]


def _in_order(columns: Mapping[str, ColumnElement[Any]]) -> Select[Any]:
    """As the table has them."""
    return select(*(columns[name].label(name) for name in COLUMNS))


def _flag(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)
