"""Usage rows of experiments that nobody has taken in yet: the analysis never reads all rows again.

A trigger notes every attempt that a split of an experiment has led, in the transaction that books it. Whoever takes it
in writes its unit into the note, in the transaction that stores what came of it. So no order in which writers ship or
commit can lose an attempt or have it counted twice, which a cursor over ids or times could: on PostgreSQL a lower id
may become visible after a higher one. When the unit is valued, its attempts are found by these notes (the table of
usage has no index for it, for which every attempt would pay), and the notes go: there are as many as attempts of units
that are not mature, and no more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.orm import Session

from registry.experiments.rows import FEED
from registry.experiments.units import in_parts
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
    attempt_id: str
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
            row.attempt_id,
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
        .where(FEED.c.experiment_id == experiment_id, FEED.c.unit_hash.is_(None))
        .order_by(FEED.c.id)
        .limit(most)
    )
    return [_fed(one) for one in session.execute(query)]


def waiting_since(session: Session, experiment_id: int) -> int | None:
    """When the attempt that waits longest had ended, in milliseconds since the epoch; None: none waits."""
    row = USAGE.c
    query = (
        select(func.coalesce(row.finished_at_ms, row.started_at_ms))
        .join(FEED, row.attempt_id == FEED.c.attempt_id)
        .where(FEED.c.experiment_id == experiment_id, FEED.c.unit_hash.is_(None))
        .order_by(FEED.c.id)
        .limit(1)
    )
    return session.scalars(query).first()


def _fed(one: Any) -> Fed:
    after_ms = one.ttft_ms if one.ttft_ms is not None else (one.finished_at_ms or one.started_at_ms) - one.started_at_ms
    return Fed(
        note=one.id,
        attempt_id=one.attempt_id,
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


def taken_in(session: Session, fed: Sequence[Fed], done_with: Collection[str]) -> bool:
    """Note that these attempts are taken in, in the transaction that stores what came of them; false when they were
    already. Of units that are `done_with` nothing is kept.
    """
    notes = [one.note for one in fed]
    waiting_still = sum(
        session.scalars(select(func.count()).where(FEED.c.id.in_(part), FEED.c.unit_hash.is_(None))).one()
        for part in in_parts(notes)
    )
    if waiting_still < len(notes):
        return False
    _delete(session, [one.note for one in fed if one.unit_hash in done_with])
    kept = [{"of": one.note, "unit": one.unit_hash} for one in fed if one.unit_hash not in done_with]
    if kept:
        statement = update(FEED).where(FEED.c.id == bindparam("of")).values(unit_hash=bindparam("unit"))
        session.connection().execute(statement, kept)
    return True


def taken(session: Session, experiment_id: int, units: Collection[str]) -> list[str]:
    """Ids of the attempts of these units that were taken in and are not done with."""
    found: list[str] = []
    for part in in_parts(list(units)):
        query = select(FEED.c.attempt_id).where(FEED.c.experiment_id == experiment_id, FEED.c.unit_hash.in_(part))
        found += session.scalars(query)
    return found


def done_with(session: Session, experiment_id: int, units: Collection[str]) -> None:
    """Forget the attempts of units that are valued."""
    for part in in_parts(list(units)):
        mine = delete(FEED).where(FEED.c.experiment_id == experiment_id, FEED.c.unit_hash.in_(part))
        session.connection().execute(mine)


def forget(session: Session, experiment_id: int, most: int) -> int:
    """Forget attempts of an experiment that has ended, at most so many; how many there were."""
    notes = session.scalars(select(FEED.c.id).where(FEED.c.experiment_id == experiment_id).limit(most)).all()
    _delete(session, notes)
    return len(notes)


def _delete(session: Session, notes: Sequence[int]) -> None:
    for part in in_parts(notes):
        session.connection().execute(delete(FEED).where(FEED.c.id.in_(part)))
