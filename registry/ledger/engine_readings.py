"""What engines have counted themselves, and what the ledger has of the same time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_, select

from registry.archive.reading import archived_rows
from registry.db import Database
from registry.fleet.rows import EngineReading
from registry.ledger.corrections import corrections_by_attempt
from registry.ledger.rows import USAGE
from registry.names import SYSTEM
from registry.upsert import upsert


@dataclass(frozen=True, slots=True)
class Reading:
    """An engine's counters at a moment between `asked_ms` and `answered_ms`; they began at 0 at `boot_ms`."""

    engine: str
    boot_ms: int
    asked_ms: int
    answered_ms: int
    steps: int
    prompt_tokens: int
    generation_tokens: int


@dataclass(frozen=True, slots=True)
class Booked:
    """Attempts of one kind on one engine between two readings. Tokens as booked; `None` was counted as 0.

    `source` is the row's `usage_source`; `inside` says whether they began and ended between the readings, or crossed
    one of them. `reread_tokens` are prompt tokens read again for the second and later answers to the same prompt.
    """

    system: bool
    source: str | None
    lost: bool
    inside: bool
    attempts: int
    answers: int
    """Answers to each prompt, summed."""
    prompt_tokens: int
    reread_tokens: int
    completion_tokens: int


class EngineReadings:
    """The table of readings."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, readings: Iterable[Reading]) -> None:
        """Store them; one that is there already is left as it is."""
        rows = [asdict(reading) for reading in readings]
        if not rows:
            return
        with self._db.write() as session:
            upsert(session, EngineReading, rows)

    def spans(self, since_ms: int, until_ms: int) -> list[tuple[Reading, Reading]]:
        """First and last reading in `[since_ms, until_ms)` of every boot that has two, by engine and boot."""
        row = EngineReading
        edges = (
            select(row.engine, row.boot_ms, func.min(row.asked_ms).label("first"), func.max(row.asked_ms).label("last"))
            .where(row.asked_ms >= since_ms, row.answered_ms < until_ms)
            .group_by(row.engine, row.boot_ms)
            .subquery()
        )
        query = (
            select(row)
            .join(edges, and_(row.engine == edges.c.engine, row.boot_ms == edges.c.boot_ms))
            .where(or_(row.asked_ms == edges.c.first, row.asked_ms == edges.c.last), edges.c.first < edges.c.last)
            .order_by(row.engine, row.boot_ms, row.asked_ms)
        )
        with self._db.read() as session:
            found = [_reading(one) for one in session.scalars(query)]
        return list(zip(found[::2], found[1::2], strict=True))

    def booked(self, first: Reading, last: Reading) -> list[Booked]:
        """The ledger's attempts on the readings' engine that ran, in whole or in part, between them; as corrected.
        Those in archives are kinds of their own. Raises `ArchiveUnreadable`.
        """
        row, corrections = USAGE.c, corrections_by_attempt()
        system, lost = row.tenant == SYSTEM, row.outcome == "lost"
        inside = and_(
            row.started_at_ms >= first.answered_ms,
            func.coalesce(row.finished_at_ms, row.started_at_ms) <= last.asked_ms,
        )
        n = func.coalesce(row.n, 1)
        prompt = func.coalesce(row.prompt_tokens, 0) + func.coalesce(corrections.c.prompt_tokens, 0)
        completion = func.coalesce(row.completion_tokens, 0) + func.coalesce(corrections.c.completion_tokens, 0)
        kinds = (_flag(system), row.usage_source, _flag(lost), _flag(inside))
        query = (
            select(
                *kinds,
                func.count(),
                func.sum(n),
                func.sum(prompt),
                func.sum(prompt * (n - 1)),
                func.sum(completion),
            )
            .outerjoin(corrections, corrections.c.attempt_id == row.attempt_id)
            .where(row.engine == first.engine, row.started_at_ms <= last.answered_ms)
            .where(func.coalesce(row.finished_at_ms, row.started_at_ms) >= first.asked_ms)
            .group_by(*kinds)
        )
        with self._db.read() as session:
            (archived,) = archived_rows(session, [query], [(first.asked_ms, last.answered_ms + 1)], running=True)
            return [
                Booked(bool(found[0]), found[1], bool(found[2]), bool(found[3]), *map(int, found[4:]))
                for found in (*session.execute(query), *archived)
            ]


def _flag(condition: ColumnElement[bool]) -> Any:
    return case((condition, 1), else_=0)


def _reading(row: EngineReading) -> Reading:
    return Reading(
        row.engine,
        row.boot_ms,
        row.asked_ms,
        row.answered_ms,
        row.steps,
        row.prompt_tokens,
        row.generation_tokens,
    )
