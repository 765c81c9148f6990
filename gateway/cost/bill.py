"""The bill: what engines cost between two instants. Pure, and exact until it is rounded once a UTC day.

At any instant an engine that is there has the cost of the most particular scope that has one: its own, its host's, its
pool's, or that of every engine (`*`).

    of an engine       nano-dollars an hour · time                        while it is there, or always (reserved, owned)
    of a host, a pool  nano-dollars an hour · time / engines there        of those that have no more particular cost;
                                                                          paid for with none there: a cost of its own
    of every engine    nano-dollars an hour · time, each                  while it is there

A day's bill is the sum of these, rounded half up to whole nano-dollars and divided by largest remainder; the bill of
a window is the sum of its days. Time in which an engine was there without a cost is `uncosted`, never $0.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from gateway.cost.whole import in_whole
from registry.days import DAY_MS
from registry.engine_costs.log import ENGINE, EVERY_ENGINE, HOST, POOL, TRAINER, CostLog, CostPeriod, HourlyCost
from registry.engine_costs.spans import EngineSpan

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class BilledPart:
    """A part of a day's bill of an engine: one line of the log, and for how long it counted."""

    scope: str
    seq: int
    """Its line in the log of engine costs."""
    nano_per_hour: int
    """Of the whole scope."""
    ms: int
    """For how long."""
    nano: Fraction
    """This engine's part of it, before it is rounded."""


@dataclass(frozen=True, slots=True)
class BilledDay:
    """What was paid for an engine within one UTC day."""

    day: int
    """UTC days since the epoch."""
    engine_id: str
    """Or `host:NAME` and `pool:NAME` while no engine was there that it is paid for, or `trainer`."""
    nano: int
    paid_ms: int
    """In which something was paid for it."""
    uncosted_ms: int
    """In which it was there, and nothing had a cost."""
    parts: tuple[BilledPart, ...]


@dataclass(frozen=True, slots=True)
class EngineBill:
    """What was paid for all engines in `[since_ms, until_ms)`."""

    since_ms: int
    until_ms: int
    log_version: str
    """Of the log of engine costs."""
    days: tuple[BilledDay, ...]
    """By day and engine."""

    @property
    def nano(self) -> int:
        """All of it, in nano-dollars."""
        return sum(day.nano for day in self.days)

    @property
    def uncosted_ms(self) -> int:
        """In which engines were there without a cost."""
        return sum(day.uncosted_ms for day in self.days)


@dataclass(frozen=True, slots=True)
class JobSpan:
    """A fine-tuning job ran in `[started_at_ms, until_ms)`, and who ordered it."""

    job_id: str
    tenant: str
    started_at_ms: int
    until_ms: int


@dataclass(slots=True)
class _Running:
    """What has come together of one engine on one day."""

    parts: dict[int, tuple[HourlyCost, int, Fraction]] = field(default_factory=dict)
    """By line of the log: for how long, and how much."""
    paid_ms: int = 0
    uncosted_ms: int = 0

    def pay(self, line: HourlyCost, ms: int, share: int) -> None:
        _, before_ms, before = self.parts.get(line.seq, (line, 0, Fraction(0)))
        nano = Fraction(line.said.nano_per_hour * ms, HOUR_MS * share)
        self.parts[line.seq] = (line, before_ms + ms, before + nano)
        self.paid_ms += ms

    @property
    def exact(self) -> Fraction:
        return sum((nano for _, _, nano in self.parts.values()), Fraction(0))


def bill_of(
    log: CostLog,
    spans: Sequence[EngineSpan],
    jobs: Sequence[JobSpan],
    since_ms: int,
    until_ms: int,
) -> EngineBill:
    """What engines and the trainer cost in `[since_ms, until_ms)`, by the costs in a log."""
    periods = {scope: log.periods(scope) for scope in log.scopes}
    running: dict[tuple[int, str], _Running] = {}
    for begin_ms, end_ms, present in _pieces(periods, spans, since_ms, until_ms):
        in_force = {scope: _at(of, begin_ms) for scope, of in periods.items()}
        lines = {scope: line for scope, line in in_force.items() if line is not None}
        _pay(running, lines, present, begin_ms // DAY_MS, end_ms - begin_ms)
    _pay_trainer(running, periods.get(TRAINER, ()), jobs, since_ms, until_ms)
    return EngineBill(since_ms, until_ms, log.version, tuple(_rounded(running)))


def _pieces(
    periods: Mapping[str, Sequence[CostPeriod]], spans: Sequence[EngineSpan], since_ms: int, until_ms: int
) -> Iterator[tuple[int, int, Mapping[str, EngineSpan]]]:
    """The window cut where anything changes, and which engines were there."""
    cuts = {since_ms, until_ms, *range(-(-since_ms // DAY_MS) * DAY_MS, until_ms, DAY_MS)}
    for period in (one for of in periods.values() for one in of):
        cuts |= {period.from_ms, *(() if period.until_ms is None else (period.until_ms,))}
    changes: dict[int, list[tuple[bool, EngineSpan]]] = {}
    for span in spans:
        begin_ms, end_ms = max(span.started_at_ms, since_ms), min(span.until_ms, until_ms)
        if begin_ms < end_ms:
            changes.setdefault(begin_ms, []).append((True, span))
            changes.setdefault(end_ms, []).append((False, span))
    order = sorted(cut for cut in cuts | changes.keys() if since_ms <= cut <= until_ms)
    there: dict[str, list[EngineSpan]] = {}
    for begin_ms, end_ms in pairwise(order):
        for comes, span in sorted(changes.get(begin_ms, ()), key=lambda change: change[0]):
            of = there.setdefault(span.engine_id, [])
            if comes:
                of.append(span)
            else:
                of.remove(span)
        yield begin_ms, end_ms, {engine: max(of, key=_newest) for engine, of in there.items() if of}


def _newest(span: EngineSpan) -> tuple[int, int, str, str]:
    """Of stays of one engine at once, which there should not be, the one that began last."""
    return span.started_at_ms, span.until_ms, span.host, span.pool or ""


def _at(periods: Sequence[CostPeriod], at_ms: int) -> HourlyCost | None:
    begun = bisect_right(periods, at_ms, key=lambda period: period.from_ms)
    period = periods[begun - 1] if begun else None
    return None if period is None or (period.until_ms is not None and at_ms >= period.until_ms) else period.line


def _pay(
    running: dict[tuple[int, str], _Running],
    lines: Mapping[str, HourlyCost],
    present: Mapping[str, EngineSpan],
    day: int,
    ms: int,
) -> None:
    """Of a piece in which nothing changes: what each engine costs."""
    members: dict[str, list[str]] = {}
    for engine, span in present.items():
        scope = _scope_of(span, lines)
        if scope is None:
            _of(running, day, engine).uncosted_ms += ms
        else:
            members.setdefault(scope, []).append(engine)
    for scope, line in lines.items():
        if scope == TRAINER:
            continue
        engines = members.get(scope, [])
        share = 1 if scope == EVERY_ENGINE else max(1, len(engines))
        if not engines and not line.while_there:
            engines = [scope.removeprefix(f"{ENGINE}:")]
        for engine in engines:
            _of(running, day, engine).pay(line, ms, share)


def _scope_of(span: EngineSpan, lines: Mapping[str, HourlyCost]) -> str | None:
    """The most particular one that has a cost."""
    scopes = (f"{ENGINE}:{span.engine_id}", f"{HOST}:{span.host}", f"{POOL}:{span.pool}", EVERY_ENGINE)
    return next((scope for scope in scopes if scope in lines), None)


def _pay_trainer(
    running: dict[tuple[int, str], _Running],
    periods: Sequence[CostPeriod],
    jobs: Iterable[JobSpan],
    since_ms: int,
    until_ms: int,
) -> None:
    """While a job runs, a worker is there for it: two at once cost twice. One that is paid at all hours costs them."""
    for day, begin_ms, end_ms in _days_of(since_ms, until_ms):
        for period in periods:
            piece_ms = _overlap(period.from_ms, period.until_ms, begin_ms, end_ms)
            if not period.line.while_there and piece_ms:
                _of(running, day, TRAINER).pay(period.line, piece_ms, 1)
    for job in jobs:
        for day, begin_ms, end_ms in _days_of(max(since_ms, job.started_at_ms), min(until_ms, job.until_ms)):
            left_ms = end_ms - begin_ms
            for period in periods:
                piece_ms = _overlap(period.from_ms, period.until_ms, begin_ms, end_ms)
                left_ms -= piece_ms
                if period.line.while_there and piece_ms:
                    _of(running, day, TRAINER).pay(period.line, piece_ms, 1)
            if left_ms:
                _of(running, day, TRAINER).uncosted_ms += left_ms


def _days_of(since_ms: int, until_ms: int) -> Iterator[tuple[int, int, int]]:
    """Days of a window, and what of each is in it."""
    for day in range(since_ms // DAY_MS, -(-until_ms // DAY_MS)):
        begin_ms, end_ms = max(since_ms, day * DAY_MS), min(until_ms, (day + 1) * DAY_MS)
        if begin_ms < end_ms:
            yield day, begin_ms, end_ms


def _overlap(from_ms: int, to_ms: int | None, begin_ms: int, end_ms: int) -> int:
    return max(0, (end_ms if to_ms is None else min(to_ms, end_ms)) - max(from_ms, begin_ms))


def _of(running: dict[tuple[int, str], _Running], day: int, engine: str) -> _Running:
    return running.setdefault((day, engine), _Running())


def _rounded(running: Mapping[tuple[int, str], _Running]) -> Iterator[BilledDay]:
    by_day: dict[int, list[str]] = {}
    for day, engine in sorted(running):
        by_day.setdefault(day, []).append(engine)
    for day, engines in by_day.items():
        exact = [running[day, engine].exact for engine in engines]
        for engine, nano in zip(engines, in_whole(exact), strict=True):
            one = running[day, engine]
            parts = tuple(
                BilledPart(line.said.scope, line.seq, line.said.nano_per_hour, ms, part)
                for line, ms, part in one.parts.values()
            )
            yield BilledDay(day, engine, nano, one.paid_ms, one.uncosted_ms, parts)
