"""For how long engines were busy: of each engine and UTC day, the union of intervals of attempts and of loads.

* Attempts that no engine has worked on do not count; one without a known end (`lost`) has no length. Of an attempt that
  crosses midnight each day has its part, of one that is longer than a day the day it began on and the one after it.
* An attempt that waited for a load of its own version begins when that has ended: until then the time is the load's.
* Time in which a load ran and no attempt is told apart (`load_ms`), and time in which attempts of before ran, of the
  day before or of before the window, and none that began in it (`carried_ms`).

Days that are over are kept, with the number of attempts, of that day and the one before it, and of loads that they were
made of: neither is ever changed, so a day is made again only when there are more, as those of a gateway that ships
late.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    String,
    case,
    column,
    func,
    literal,
    select,
    values,
)
from sqlalchemy.orm import Session

from registry.archive.reading import archived_rows
from registry.days import DAY_MS
from registry.db import Database
from registry.engine_costs.rows import EngineBusyDay, EngineLoadRow
from registry.ledger.rows import USAGE, USAGE_DAYS
from registry.ledger.usage_days import ENGINE, UNTOUCHED
from registry.upsert import upsert

DAYS_AT_ONCE = 7
"""Whose attempts archives are asked for in one question: a question starts a process, and has an end by the clock."""
EngineDayKey = tuple[int, str]
"""UTC days since the epoch, and the engine's id."""
Intervals = list[tuple[int, int]]
"""`[begin, end)` each, in milliseconds since the epoch."""
Loads = Sequence[tuple[str, str, int, int]]
"""Engine, version, begin and end of each."""
T = TypeVar("T")


class BusyTime(NamedTuple):
    """Milliseconds of one engine on one day."""

    ms: int
    """In which attempts or loads ran."""
    load_ms: int = 0
    """Of these, in which loads ran, and no attempt but such as waited for them."""
    carried_ms: int = 0
    """Of these, in which attempts ran that began before, and none that began on the day, or in the window."""


class _Counts(NamedTuple):
    attempts: int = 0
    loads: int = 0


class _Span(NamedTuple):
    """`[since_ms, until_ms)`, which is in the day."""

    day: int
    since_ms: int
    until_ms: int


class EngineBusy:
    """Busy time of engines by day."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def close(self, until_ms: int) -> int:
        """Keep the days that were over at `until_ms`, and make those again that have more attempts or loads than
        before; how many were made.
        """
        end = until_ms // DAY_MS
        with self._db.read() as session:
            counts, kept = _counts(session, 0, end), _kept(session, 0, end)
        stale: dict[int, list[str]] = {}
        for (day, engine), count in sorted(counts.items()):
            if (day, engine) not in kept or kept[day, engine][1] != count:
                stale.setdefault(day, []).append(engine)
        for days in _in_parts(list(stale)):
            with self._db.read() as session:
                found = _busy(session, [_Span(day, day * DAY_MS, (day + 1) * DAY_MS) for day in days])
            for day in days:
                times, engines = found.get(day, {}), stale[day]
                rows = [_row(day, engine, times.get(engine, BusyTime(0)), counts[day, engine]) for engine in engines]
                with self._db.write() as session:
                    upsert(session, EngineBusyDay, rows, replace=tuple(rows[0].keys() - {"day", "engine_id"}))
        return sum(map(len, stale.values()))

    def between(self, since_ms: int, until_ms: int) -> Mapping[EngineDayKey, BusyTime]:
        """By day and engine within `[since_ms, until_ms)`. Days that are kept, and that the window has whole, are read;
        others are added up from their attempts and loads. Raises `ArchiveUnreadable`.
        """
        first, end = since_ms // DAY_MS, -(-until_ms // DAY_MS)
        found: dict[int, Mapping[str, BusyTime]] = {}
        missing: list[_Span] = []
        with self._db.read() as session:
            counts, kept = _counts(session, first, end), _kept(session, first, end)
            by_day: dict[int, list[str]] = {}
            for day, engine in counts:
                by_day.setdefault(day, []).append(engine)
            for day, engines in by_day.items():
                whole = since_ms <= day * DAY_MS and (day + 1) * DAY_MS <= until_ms
                known = {engine: kept[day, engine] for engine in engines if (day, engine) in kept}
                if whole and all(engine in known and known[engine][1] == counts[day, engine] for engine in engines):
                    found[day] = {engine: time for engine, (time, _) in known.items()}
                else:
                    missing.append(_Span(day, max(since_ms, day * DAY_MS), min(until_ms, (day + 1) * DAY_MS)))
            for spans in _in_parts(missing):
                found |= _busy(session, spans)
        return {(day, engine): time for day in sorted(found) for engine, time in found[day].items() if time.ms}


def _in_parts(days: Sequence[T]) -> Iterator[Sequence[T]]:
    return (days[begin : begin + DAYS_AT_ONCE] for begin in range(0, len(days), DAYS_AT_ONCE))


def _row(day: int, engine: str, time: BusyTime, counts: _Counts) -> dict[str, Any]:
    return {
        "day": day,
        "engine_id": engine,
        "busy_ms": time.ms,
        "load_ms": time.load_ms,
        "carried_ms": time.carried_ms,
        **counts._asdict(),
    }


def _counts(session: Session, first: int, end: int) -> dict[EngineDayKey, _Counts]:
    """By day in `[first, end)` and engine, where there are any: attempts of that day and the one before it, and loads
    of which some was on that day.
    """
    row, load = USAGE_DAYS.c, EngineLoadRow
    attempts = (
        select(row.day, row.engine_id, func.sum(row.attempts))
        .where(row.day >= first - 1, row.day < end, row.engine_id != "")
        .group_by(row.day, row.engine_id)
    )
    loads = select(load.engine_id, load.began_at_ms, load.ended_at_ms).where(
        load.ended_at_ms > first * DAY_MS, load.began_at_ms < end * DAY_MS
    )
    found: dict[EngineDayKey, _Counts] = {}
    for day, engine, count in session.execute(attempts):
        for of in (day, day + 1):
            if first <= of < end:
                before = found.get((of, engine), _Counts())
                found[of, engine] = before._replace(attempts=before.attempts + int(count))
    for engine, began_ms, ended_ms in session.execute(loads):
        for of in range(max(first, began_ms // DAY_MS), min(end, -(-ended_ms // DAY_MS))):
            before = found.get((of, engine), _Counts())
            found[of, engine] = before._replace(loads=before.loads + 1)
    return found


def _kept(session: Session, first: int, end: int) -> dict[EngineDayKey, tuple[BusyTime, _Counts]]:
    row = EngineBusyDay
    query = select(row).where(row.day >= first, row.day < end)
    return {
        (one.day, one.engine_id): (
            BusyTime(one.busy_ms, one.load_ms, one.carried_ms),
            _Counts(one.attempts, one.loads),
        )
        for one in session.scalars(query)
    }


def _busy(session: Session, spans: Sequence[_Span]) -> dict[int, Mapping[str, BusyTime]]:
    """By day and engine, of a span of each day; of attempts in archives too. Raises `ArchiveUnreadable`."""
    windows = [((span.day - 1) * DAY_MS, span.until_ms) for span in spans]
    loads = [_loads(session, *window) for window in windows]
    given = [_runs(span, _given(ran) if ran else None) for span, ran in zip(spans, loads, strict=True)]
    archived = archived_rows(session, given, windows)
    each = zip(spans, loads, archived, strict=True)
    return {span.day: _times(session, span, ran, rows) for span, ran, rows in each}


def _times(session: Session, span: _Span, loads: Loads, archived: Iterable[Iterable[Any]]) -> Mapping[str, BusyTime]:
    """By engine; `archived`: the runs of attempts that archives have."""
    _, since_ms, until_ms = span
    runs = _runs(span, EngineLoadRow.__table__ if loads else None)
    own: dict[str, Intervals] = {}
    carried: dict[str, Intervals] = {}
    for engine, before, begin_ms, end_ms in map(tuple, (*session.execute(runs), *archived)):
        (carried if before else own).setdefault(engine, []).append((begin_ms, end_ms))
    loading: dict[str, Intervals] = {}
    for engine, _, began_ms, ended_ms in loads:
        loading.setdefault(engine, []).append((max(began_ms, since_ms), min(ended_ms, until_ms)))
    return {
        engine: _time(own.get(engine, []), carried.get(engine, []), loading.get(engine, []))
        for engine in own.keys() | carried.keys() | loading.keys()
    }


def _time(own: Intervals, carried: Intervals, loads: Intervals) -> BusyTime:
    of_own, of_attempts, of_all = _length(own), _length([*own, *carried]), _length([*own, *carried, *loads])
    return BusyTime(of_all, of_all - of_attempts, of_attempts - of_own)


def _length(intervals: Intervals) -> int:
    """Of their union."""
    total, latest_ms = 0, None
    for begin_ms, end_ms in sorted(intervals):
        begin_ms = begin_ms if latest_ms is None else max(begin_ms, latest_ms)
        total += max(0, end_ms - begin_ms)
        latest_ms = max(begin_ms, end_ms)
    return total


def _loads(session: Session, since_ms: int, until_ms: int) -> Loads:
    """Those that ran in `[since_ms, until_ms)`."""
    row = EngineLoadRow
    query = select(row.engine_id, row.served_model, row.began_at_ms, row.ended_at_ms)
    query = query.where(row.ended_at_ms > since_ms, row.began_at_ms < until_ms)
    return [(engine, model, began, ended) for engine, model, began, ended in session.execute(query)]


def _given(loads: Loads) -> FromClause:
    """Loads as a table, for a database that has none."""
    columns = column("engine_id", String), column("served_model", String)
    times = column("began_at_ms", BigInteger), column("ended_at_ms", BigInteger)
    return values(*columns, *times, name="engine_loads").data(list(loads))


def _runs(span: _Span, loads: FromClause | None) -> Select[Any]:
    """Engine, whether they began before, begin and end of every run of attempts' intervals that touch or overlap.

    In the order of their begins, one that is later than the latest end before it begins a run.
    """
    day, since_ms, until_ms = span
    row = USAGE.c
    engine = ENGINE.label("engine")
    before = case((row.started_at_ms < since_ms, 1), else_=0).label("before")
    begun = row.started_at_ms if loads is None else _after_its_load(loads)
    begin = _greater(begun, literal(since_ms, BigInteger))
    end = _lesser(row.finished_at_ms, literal(until_ms, BigInteger))
    intervals = (
        select(engine, before, begin.label("begin_ms"), end.label("end_ms"))
        .where(row.started_at_ms >= (day - 1) * DAY_MS, row.started_at_ms < until_ms)
        .where(row.finished_at_ms > since_ms, row.outcome.not_in(UNTOUCHED))
        .subquery("intervals")
        .c
    )
    kept = (intervals.engine, intervals.before)
    order = (intervals.begin_ms, intervals.end_ms)
    latest = func.max(intervals.end_ms).over(partition_by=kept, order_by=order, rows=(None, -1))
    one = select(*kept, *order, latest.label("latest_ms")).where(intervals.begin_ms <= intervals.end_ms)
    of = one.subquery("one").c
    begins = case((of.begin_ms <= of.latest_ms, 0), else_=1)
    order = (of.begin_ms, of.end_ms)
    number = func.sum(begins).over(partition_by=(of.engine, of.before), order_by=order, rows=(None, 0))
    run = select(of.engine, of.before, *order, number.label("number")).subquery("run").c
    groups = (run.engine, run.before)
    return select(*groups, func.min(run.begin_ms), func.max(run.end_ms)).group_by(*groups, run.number)


def _after_its_load(loads: FromClause) -> ColumnElement[int]:
    """When an attempt began, or a load of its version that it waited for ended."""
    row, load = USAGE.c, loads.c
    waited = (
        select(func.max(load.ended_at_ms))
        .where(load.engine_id == ENGINE, load.served_model == row.served_model)
        .where(load.ended_at_ms > row.started_at_ms, load.began_at_ms < row.finished_at_ms)
        .correlate(USAGE)
        .scalar_subquery()
    )
    return func.coalesce(waited, row.started_at_ms)


def _greater(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    return case((one > other, one), else_=other)


def _lesser(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    return case((one < other, one), else_=other)
