"""Samples of engines' counters, and the weights that were fitted from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import delete, func, select

from registry.days import DAY_MS
from registry.db import Database
from registry.engine_costs.rows import EngineSampleRow, EngineWeightsRow
from registry.upsert import upsert

KEEP_SAMPLES_MS = 14 * DAY_MS
MOST_SAMPLES = 20_000
"""Of a base and kind of engine, the newest, that a fit is made of."""


@dataclass(frozen=True, slots=True)
class EngineSample:
    """What one engine has counted until `ended_at_ms`, since the sample before it."""

    engine_id: str
    ended_at_ms: int
    base_digest: str
    kind: str
    busy_ms: int
    """In which requests ran on it, waited, or had been sent to it."""
    steps: int
    uncached_tokens: int
    """Of prompts, read and not found in its prefix cache."""
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class FittedWeights:
    """Picoseconds of an engine's busy time for a token, and how well that fits."""

    base_digest: str
    kind: str
    uncached_ps: int
    completion_ps: int
    """With the part of each step that is there whatever is in it."""
    step_ps: int
    """That part, of one step."""
    residual: float
    """Root of the mean square of what is left, by that of the busy times."""
    samples: int
    made_at_ms: int


class EngineWeights:
    """Both tables."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def sample(self, samples: Iterable[EngineSample], now_ms: int) -> None:
        """Store them; those that are old go."""
        rows = [asdict(sample) for sample in samples]
        with self._db.write() as session:
            upsert(session, EngineSampleRow, rows)
            session.execute(delete(EngineSampleRow).where(EngineSampleRow.ended_at_ms < now_ms - KEEP_SAMPLES_MS))

    def samples(self, base_digest: str, kind: str) -> list[EngineSample]:
        """The newest of one base and kind of engine, oldest first."""
        row = EngineSampleRow
        query = (
            select(row)
            .where(row.base_digest == base_digest, row.kind == kind)
            .order_by(row.ended_at_ms.desc(), row.engine_id)
            .limit(MOST_SAMPLES)
        )
        with self._db.read() as session:
            found = session.scalars(query).all()
        return [
            EngineSample(
                one.engine_id,
                one.ended_at_ms,
                one.base_digest,
                one.kind,
                one.busy_ms,
                one.steps,
                one.uncached_tokens,
                one.completion_tokens,
            )
            for one in reversed(found)
        ]

    def sampled(self) -> list[tuple[str, str]]:
        """Bases and kinds of engines that have samples."""
        row = EngineSampleRow
        with self._db.read() as session:
            query = select(row.base_digest, row.kind).distinct().order_by(row.base_digest, row.kind)
            return [(base, kind) for base, kind in session.execute(query)]

    def put(self, weights: FittedWeights) -> None:
        """Keep a fit: it counts from its day on, until a later one does."""
        with self._db.write() as session:
            session.add(EngineWeightsRow(**asdict(weights)))

    def last_id(self) -> int:
        """Of the newest fit; 0: there is none."""
        with self._db.read() as session:
            return session.scalar(select(func.max(EngineWeightsRow.id))) or 0

    def all(self, upto: int | None = None) -> list[FittedWeights]:
        """Every fit, oldest first; with `upto` those with no larger id."""
        query = select(EngineWeightsRow).order_by(EngineWeightsRow.id)
        if upto is not None:
            query = query.where(EngineWeightsRow.id <= upto)
        with self._db.read() as session:
            rows = session.scalars(query).all()
        return [
            FittedWeights(
                one.base_digest,
                one.kind,
                one.uncached_ps,
                one.completion_ps,
                one.step_ps,
                one.residual,
                one.samples,
                one.made_at_ms,
            )
            for one in rows
        ]
