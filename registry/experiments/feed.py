"""Usage rows of experiments that nobody has taken in yet: the analysis never reads all rows again.

A trigger notes every attempt that a split of an experiment has led, in the transaction that books it. Whoever takes it
in deletes the note, in the transaction that stores what came of it. So no order in which writers ship or commit can
lose an attempt or have it counted twice, which a cursor over ids or times could: on PostgreSQL a lower id may become
visible after a higher one. Notes are as many as attempts that wait, and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select
from sqlalchemy.orm import Session

from registry.experiments.rows import FEED
from registry.experiments.units import MOST_NAMED
from registry.ledger.rows import USAGE
from registry.splits.rows import BASE

FAILED = ("engine_failed", "load_failed", "not_stored")
"""Outcomes of attempts in which the arm failed its unit: the engine's errors, an adapter that is missing or does not
load."""


@dataclass(frozen=True, slots=True)
class Fed:
    """An attempt that a split of the experiment has led. `served_arm` is what answered: `base`, or a version's number.

    `cost_nano` is `None` where no price was in force.
    """

    note: int
    unit_hash: str
    unit_source: str
    split_id: int
    arm: str
    propensity: float
    served_arm: str
    outcome: str
    started_at_ms: int
    served_at_ms: int
    has_byte: bool
    """Whether the client got a byte of the answer. Of answers that are no stream the time of the first is not known."""
    cost_nano: int | None

    @property
    def failed(self) -> bool:
        """Whether the arm failed its unit."""
        return self.outcome in FAILED

    @property
    def exposes(self) -> bool:
        """Whether the unit has met its arm: it got a byte of it, or its failure."""
        return self.has_byte or self.failed


def waiting(session: Session, experiment_id: int, most: int) -> list[Fed]:
    """The oldest that wait, at most so many."""
    row = USAGE.c
    query = (
        select(
            FEED.c.id,
            row.unit_hash,
            row.unit_source,
            row.split_id,
            row.arm,
            row.propensity,
            row.served_model,
            row.outcome,
            row.started_at_ms,
            row.finished_at_ms,
            row.ttft_ms,
            row.cost_nano,
        )
        .join(USAGE, row.attempt_id == FEED.c.attempt_id)
        .where(FEED.c.experiment_id == experiment_id)
        .order_by(FEED.c.id)
        .limit(most)
    )
    return [_fed(one) for one in session.execute(query)]


def _fed(one: Any) -> Fed:
    after_ms = one.ttft_ms if one.ttft_ms is not None else (one.finished_at_ms or one.started_at_ms) - one.started_at_ms
    return Fed(
        note=one.id,
        unit_hash=one.unit_hash,
        unit_source=one.unit_source or "",
        split_id=one.split_id,
        arm=one.arm,
        propensity=one.propensity,
        served_arm=one.served_model.partition("@")[2] or BASE,
        outcome=one.outcome,
        started_at_ms=one.started_at_ms,
        served_at_ms=one.started_at_ms + int(after_ms),
        has_byte=one.ttft_ms is not None or one.outcome == "ok",
        cost_nano=one.cost_nano,
    )


def taken_in(session: Session, notes: Sequence[int]) -> int:
    """Forget these notes, in the transaction that stores what came of them; how many there were."""
    gone = 0
    for at in range(0, len(notes), MOST_NAMED):
        done = session.connection().execute(delete(FEED).where(FEED.c.id.in_(notes[at : at + MOST_NAMED])))
        gone += cast("CursorResult[Any]", done).rowcount
    return gone


def forget(session: Session, experiment_id: int, most: int) -> int:
    """Forget notes of an experiment that has ended, at most so many; how many there were."""
    query = select(FEED.c.id).where(FEED.c.experiment_id == experiment_id).limit(most)
    return taken_in(session, session.scalars(query).all())
