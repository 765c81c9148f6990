"""What engines cost: adding to the log, and reading it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.backends import ENGINE_COST_LOCK, number_in_order
from registry.days import day_of
from registry.db import Database, now_ms
from registry.engine_costs.log import (
    ENGINE,
    EVERY_ENGINE,
    HOST,
    POOL,
    TRAINER,
    CostLine,
    CostLog,
    CostSaid,
    costs_between,
    digest_after,
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
    ) -> CostLine:
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
            number_in_order(session, ENGINE_COST_LOCK)
            log = _read(session)
            if kind == ENDED and not costs_between(log.periods(scope), from_ms, from_ms + 1):
                raise Conflict(f"{scope} has no cost at that time that could end", param="scope")
            if not correct and from_ms < (today_ms := day_of(at_ms)[0]):
                _require_gap(session, log, said, today_ms)
            return _append(session, log, said, at_ms)

    def log(self, version: str | None = None) -> CostLog:
        """All of it, or as it was at a version. Raises `NotFound` for a version that there never was."""
        with self._db.read() as session:
            log = _read(session)
        return log if version is None else log.cut(version)


def _read(session: Session) -> CostLog:
    rows = session.scalars(select(EngineCostLine).order_by(EngineCostLine.seq))
    return CostLog(tuple(map(_line, rows)))


def _line(row: EngineCostLine) -> CostLine:
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
    return CostLine(row.seq, row.added_at_ms, row.digest, said)


def _append(session: Session, log: CostLog, said: CostSaid, at_ms: int) -> CostLine:
    seq = len(log.lines) + 1
    digest = digest_after(log.lines[-1].digest if log.lines else "", seq, at_ms, said)
    session.add(
        EngineCostLine(
            seq=seq,
            scope=said.scope,
            kind=said.kind,
            nano_per_hour=said.nano_per_hour,
            terms=dict(said.terms),
            effective_from_ms=said.effective_from_ms,
            correction=said.correction,
            source=said.source,
            actor=said.actor,
            added_at_ms=at_ms,
            digest=digest,
        )
    )
    return CostLine(seq, at_ms, digest, said)


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
