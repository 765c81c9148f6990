"""When each engine was there: stays, as the fleet's leader sees engines, whoever leads.

* A stay begins when the engine's process began, and goes on while the leader sees it. Not seen for `GONE_AFTER_MS` by a
  leader that lives, it has ended when it was last seen.
* The same boot is the same stay, however long nobody looked: a leader that was away for an hour cuts nothing.
* A new boot within `RESTART_WITHIN_MS` of the last sight of the old one is the same stay too: the process was
  restarted, and its machine was paid for meanwhile.
* An engine that is declared to be of another host, pool or base begins a new stay at once.
* What becomes known of a time in which the leader looked and did not see the engine is a row of its own, as are stays
  that began before they were seen: so the stays can be read as they were known at any time that the leader looked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from registry.db import Database
from registry.engine_costs.rows import EngineSpanRow

GONE_AFTER_MS = 300_000
RESTART_WITHIN_MS = 900_000


@dataclass(frozen=True, slots=True)
class SeenEngine:
    """An engine that answers."""

    engine_id: str
    url: str
    host: str
    pool: str | None
    base_digest: str
    kind: str
    """Kind and platform, such as `vllm on gpu`."""
    boot_ms: int


@dataclass(frozen=True, slots=True)
class EngineSpan:
    """A stay `[started_at_ms, until_ms)`."""

    engine_id: str
    host: str
    pool: str | None
    base_digest: str
    """Empty: not known."""
    kind: str
    """Empty: not known."""
    started_at_ms: int
    until_ms: int
    """When it was seen last."""
    open: bool
    """Whether it is there still."""
    derived: bool
    """Whether it was made of readings and usage, as nobody wrote spans then."""


class EngineSpans:
    """The stays of all engines."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def see(self, engines: Iterable[SeenEngine], at_ms: int) -> None:
        """These answered at `at_ms`; stays of others that nobody has seen for long have ended."""
        with self._db.write() as session:
            known_ms = _known_ms(session)
            for engine in engines:
                _see(session, engine, at_ms, known_ms)
            row = EngineSpanRow
            gone = row.ended_at_ms.is_(None) & (row.seen_at_ms < at_ms - GONE_AFTER_MS)
            session.execute(update(row).where(gone).values(ended_at_ms=row.seen_at_ms))

    def known_ms(self) -> int:
        """When the leader last saw an engine, or a little later where clocks are apart; 0: never."""
        with self._db.read() as session:
            return _known_ms(session)

    def between(self, since_ms: int, until_ms: int, known_ms: int | None = None) -> list[EngineSpan]:
        """Stays of which some is in `[since_ms, until_ms)`, by engine and time; as they are known, or were when
        `known_ms` was this. One that goes on in a row of its own comes in parts.
        """
        row = EngineSpanRow
        query = (
            select(row)
            .where(row.started_at_ms < until_ms, row.seen_at_ms > since_ms)
            .order_by(row.engine_id, row.started_at_ms, row.id)
        )
        if known_ms is not None:
            query = query.where(row.known_at_ms <= known_ms, row.started_at_ms < known_ms)
        with self._db.read() as session:
            return [
                EngineSpan(
                    one.engine_id,
                    one.host,
                    one.pool,
                    one.base_digest,
                    one.kind,
                    one.started_at_ms,
                    one.seen_at_ms if known_ms is None else min(one.seen_at_ms, known_ms),
                    one.ended_at_ms is None,
                    one.derived,
                )
                for one in session.scalars(query)
            ]

    def first_ms(self) -> int | None:
        """When the first engine was there."""
        with self._db.read() as session:
            return session.scalar(select(func.min(EngineSpanRow.started_at_ms)))


def _known_ms(session: Session) -> int:
    row = EngineSpanRow
    seen_ms, known_ms = session.execute(select(func.max(row.seen_at_ms), func.max(row.known_at_ms))).one()
    return max(seen_ms or 0, known_ms or 0)


def _see(session: Session, engine: SeenEngine, at_ms: int, known_ms: int) -> None:
    """`known_ms`: of what was known before. What is added is known later, also where this clock is behind; and a row is
    gone on with only where nobody can have asked since it was written.
    """
    row = EngineSpanRow
    of_engine = select(row).where(row.engine_id == engine.engine_id).order_by(row.seen_at_ms.desc(), row.id.desc())
    last = session.scalars(of_engine.limit(1).with_for_update()).first()
    began_ms, added_ms = min(engine.boot_ms, at_ms), max(at_ms, known_ms + 1)
    if last is None:
        session.add(_row(engine, began_ms, at_ms, added_ms))
        return
    if at_ms <= last.seen_at_ms:
        return  # somebody else has seen it later
    stays = engine.boot_ms == last.boot_ms or began_ms - last.seen_at_ms <= RESTART_WITHIN_MS
    if stays and last.seen_at_ms == known_ms:
        last.seen_at_ms = at_ms  # it was there all the time
        if _place(last) == _place(engine):
            last.boot_ms, last.url, last.ended_at_ms = engine.boot_ms, engine.url, None
            return
    last.ended_at_ms = last.seen_at_ms
    session.flush()
    session.add(_row(engine, last.seen_at_ms if stays else max(began_ms, last.seen_at_ms), at_ms, added_ms))


def _row(engine: SeenEngine, began_ms: int, at_ms: int, added_ms: int) -> EngineSpanRow:
    return EngineSpanRow(
        engine_id=engine.engine_id,
        url=engine.url,
        host=engine.host,
        pool=engine.pool,
        base_digest=engine.base_digest,
        kind=engine.kind,
        boot_ms=engine.boot_ms,
        started_at_ms=began_ms,
        seen_at_ms=at_ms,
        ended_at_ms=None,
        known_at_ms=added_ms,
        derived=False,
    )


def _place(one: EngineSpanRow | SeenEngine) -> tuple[str, str | None, str, str]:
    return one.host, one.pool, one.base_digest, one.kind
