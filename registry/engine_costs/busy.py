"""For how long engines were busy: of each engine and UTC day, the union of its attempts' intervals.

Attempts that no engine has worked on do not count; one without a known end (`lost`) has no length. Of an attempt that
crosses midnight each day has its part, of one that is longer than a day the day it began on and the one after it.

Days that are over are kept, with the number of attempts, of that day and the one before it, that they were made of:
attempts are never changed, so a day is made again only when there are more, as those of a gateway that ships late.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, case, func, literal, select
from sqlalchemy.orm import Session

from registry.archive.reading import archived_rows
from registry.days import DAY_MS
from registry.db import Database
from registry.engine_costs.rows import EngineBusyDay
from registry.ledger.rows import USAGE, USAGE_DAYS
from registry.ledger.usage_days import ENGINE, UNTOUCHED
from registry.upsert import upsert

EngineDayKey = tuple[int, str]
"""UTC days since the epoch, and the engine's id."""


class EngineBusy:
    """Busy time of engines by day."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def close(self, until_ms: int) -> int:
        """Keep the days that were over at `until_ms`, and make those again that have more attempts than before; how
        many were made.
        """
        with self._db.read() as session:
            attempts = _attempts(session, 0, until_ms // DAY_MS)
            kept = _kept(session, 0, until_ms // DAY_MS)
            stale = sorted(key for key, count in attempts.items() if key not in kept or kept[key][1] != count)
        for day in sorted({day for day, _ in stale}):
            with self._db.read() as session:
                found = _union(session, day, day * DAY_MS, (day + 1) * DAY_MS)
            with self._db.write() as session:
                rows = [
                    {
                        "day": day,
                        "engine_id": engine,
                        "busy_ms": found.get(engine, 0),
                        "attempts": attempts[day, engine],
                    }
                    for of, engine in stale
                    if of == day
                ]
                upsert(session, EngineBusyDay, rows, replace=("busy_ms", "attempts"))
        return len(stale)

    def between(self, since_ms: int, until_ms: int) -> Mapping[EngineDayKey, int]:
        """Milliseconds by day and engine within `[since_ms, until_ms)`. Days that are kept, and that the window has
        whole, are read; others are added up from their attempts.
        """
        first, end = since_ms // DAY_MS, -(-until_ms // DAY_MS)
        busy: dict[EngineDayKey, int] = {}
        with self._db.read() as session:
            attempts, kept = _attempts(session, first, end), _kept(session, first, end)
            fresh = {key: ms for key, (ms, count) in kept.items() if attempts.get(key) == count}
            for day in range(first, end):
                whole = since_ms <= day * DAY_MS and (day + 1) * DAY_MS <= until_ms
                of_day = {key for key in attempts if key[0] == day}
                if whole and of_day <= fresh.keys():
                    busy |= {key: fresh[key] for key in of_day}
                elif of_day:
                    edges = max(since_ms, day * DAY_MS), min(until_ms, (day + 1) * DAY_MS)
                    busy |= {(day, engine): ms for engine, ms in _union(session, day, *edges).items()}
        return {key: ms for key, ms in busy.items() if ms}


def _attempts(session: Session, first: int, end: int) -> dict[EngineDayKey, int]:
    """By day in `[first, end)` and engine: attempts of that day and the one before it, where there are any."""
    row = USAGE_DAYS.c
    query = (
        select(row.day, row.engine_id, func.sum(row.attempts))
        .where(row.day >= first - 1, row.day < end, row.engine_id != "")
        .group_by(row.day, row.engine_id)
    )
    found: dict[EngineDayKey, int] = {}
    for day, engine, count in session.execute(query):
        for of in (day, day + 1):
            if first <= of < end:
                found[of, engine] = found.get((of, engine), 0) + int(count)
    return found


def _kept(session: Session, first: int, end: int) -> dict[EngineDayKey, tuple[int, int]]:
    row = EngineBusyDay
    query = select(row.day, row.engine_id, row.busy_ms, row.attempts).where(row.day >= first, row.day < end)
    return {(day, engine): (busy_ms, attempts) for day, engine, busy_ms, attempts in session.execute(query)}


def _union(session: Session, day: int, since_ms: int, until_ms: int) -> dict[str, int]:
    """By engine, the length of the union of attempts' intervals within `[since_ms, until_ms)`, which is in the day;
    of those in archives too. Raises `ArchiveUnreadable`.
    """
    runs = _runs(day, since_ms, until_ms)
    (archived,) = archived_rows(session, [runs], [((day - 1) * DAY_MS, until_ms)])
    busy: dict[str, int] = {}
    latest: dict[str, int] = {}
    for engine, begin, end in sorted(map(tuple, (*session.execute(runs), *archived))):
        begin = max(begin, latest.get(engine, begin))
        busy[engine] = busy.get(engine, 0) + max(0, end - begin)
        latest[engine] = max(end, begin)
    return busy


def _runs(day: int, since_ms: int, until_ms: int) -> Select[Any]:
    """Engine, begin and end of every run of intervals that touch or overlap.

    In the order of their begins, one that is later than the latest end before it begins a run.
    """
    row = USAGE.c
    engine = ENGINE.label("engine")
    begin = _greater(row.started_at_ms, literal(since_ms, BigInteger))
    end = _lesser(row.finished_at_ms, literal(until_ms, BigInteger))
    intervals = (
        select(engine, begin.label("begin_ms"), end.label("end_ms"))
        .where(row.started_at_ms >= (day - 1) * DAY_MS, row.started_at_ms < until_ms)
        .where(row.finished_at_ms > since_ms, row.outcome.not_in(UNTOUCHED))
        .subquery("intervals")
        .c
    )
    order = (intervals.begin_ms, intervals.end_ms)
    latest = func.max(intervals.end_ms).over(partition_by=intervals.engine, order_by=order, rows=(None, -1))
    one = select(intervals.engine, intervals.begin_ms, intervals.end_ms, latest.label("latest_ms")).subquery("one").c
    begins = case((one.begin_ms <= one.latest_ms, 0), else_=1)
    order = (one.begin_ms, one.end_ms)
    number = func.sum(begins).over(partition_by=one.engine, order_by=order, rows=(None, 0))
    run = select(one.engine, one.begin_ms, one.end_ms, number.label("number")).subquery("run").c
    return select(run.engine, func.min(run.begin_ms), func.max(run.end_ms)).group_by(run.engine, run.number)


def _greater(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    return case((one > other, one), else_=other)


def _lesser(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    return case((one < other, one), else_=other)
