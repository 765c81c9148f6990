"""What engines cost: adding to the log, and reading it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.days import day_of
from registry.db import Database, now_ms
from registry.engine_costs.log import (
    COST_LOG,
    ENGINE,
    EVERY_ENGINE,
    HOST,
    POOL,
    TRAINER,
    CostLog,
    CostSaid,
    HourlyCost,
    costs_between,
    require_scope,
)
from registry.engine_costs.rows import EngineCostLine, EngineSpanRow
from registry.engine_costs.terms import ENDED, WHILE_THERE, hourly_nano
from registry.errors import Conflict, InvalidInput

NOT_OF_EVERY_ENGINE = (
    "* is each engine that is there, and what is paid at all hours is paid for something that has a name"
)


class EngineCosts:
    """The log of what engines, hosts, pools and the trainer cost."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(
        self,
        scope: str,
        kind: str,
        terms: Mapping[str, str],
        *,
        effective_from_ms: int | None = None,
        source: str,
        actor: str,
        correct: bool = False,
    ) -> HourlyCost:
        """Add a cost that holds from an instant on, or from now on; `ended`: nothing more from then on.

        What is added today changes nothing before today, but where nothing had a cost: else it must be said that it is
        a correction, and it is a line of its own. Raises `InvalidInput`, or `Conflict` for one that must be one.
        """
        require_scope(scope)
        nano = hourly_nano(kind, terms)
        if scope == EVERY_ENGINE and kind not in (*WHILE_THERE, ENDED):
            raise InvalidInput(f"kind is {kind}: {NOT_OF_EVERY_ENGINE}; name the engine, host or pool", param="kind")
        if not source.strip():
            raise InvalidInput("source is empty; say where the figure is from", param="source")
        at_ms = now_ms()
        from_ms = at_ms if effective_from_ms is None else effective_from_ms
        said = CostSaid(scope, kind, nano, dict(terms), from_ms, correct, source[:500], actor[:100])
        with self._db.write() as session:
            COST_LOG.lock(session)
            log = _read(session)
            if kind == ENDED and not costs_between(log.periods(scope), from_ms, from_ms + 1):
                raise Conflict(f"{scope} has no cost at that time that could end", param="scope")
            if not correct and from_ms < (today_ms := day_of(at_ms)[0]):
                _require_gap(session, log, said, today_ms)
            return _line(COST_LOG.append(session, said, at_ms))

    def log(self, version: str | None = None) -> CostLog:
        """All of it, or as it was at a version. Raises `NotFound` for a version that there never was."""
        with self._db.read() as session:
            return _read(session, None if version is None else COST_LOG.seq_of(session, version))

    def faults(self) -> list[str]:
        """What is wrong with the log, a sentence each; empty when nobody has touched it."""
        with self._db.read() as session:
            return COST_LOG.faults(session)


def _read(session: Session, last: int | None = None) -> CostLog:
    query = select(EngineCostLine).order_by(EngineCostLine.seq)
    if last is not None:
        query = query.where(EngineCostLine.seq <= last)
    return CostLog(tuple(map(_line, session.scalars(query))))


def _line(row: EngineCostLine) -> HourlyCost:
    said = CostSaid(
        row.scope,
        row.kind,
        row.nano_per_hour,
        row.terms,
        row.effective_from_ms,
        row.correction,
        row.source,
        row.actor,
    )
    return HourlyCost(row.seq, row.added_at_ms, row.digest, said)


def _require_gap(session: Session, log: CostLog, said: CostSaid, today_ms: int) -> None:
    """Raises `Conflict` when something that had a cost before today would have another one."""
    later = [line.said.effective_from_ms for line in log.lines if line.said.scope == said.scope]
    until_ms = min((at for at in later if at > said.effective_from_ms), default=today_ms)
    for scope in (said.scope, *_wider(session, said.scope)):
        if costs_between(log.periods(scope), said.effective_from_ms, min(until_ms, today_ms)):
            named = "it has a cost then" if scope == said.scope else f"{scope} has a cost then, which may be its"
            raise Conflict(
                f"effective_from is before today, and {said.scope} is no gap: {named}; give a date from today on, or "
                "say that it is a correction (--correct), which changes bills of days that are over",
                param="effective_from",
            )


def _wider(session: Session, scope: str) -> Iterator[str]:
    """Scopes whose cost may be that of the same engines, where this one has none."""
    if scope in (TRAINER, EVERY_ENGINE):
        return
    yield EVERY_ENGINE
    kind, _, name = scope.partition(":")
    row = EngineSpanRow
    if kind == POOL:
        return
    where = row.engine_id == name if kind == ENGINE else row.host == name
    for host, pool in session.execute(select(row.host, row.pool).where(where).distinct()):
        if kind == ENGINE:
            yield f"{HOST}:{host}"
        if pool is not None:
            yield f"{POOL}:{pool}"
