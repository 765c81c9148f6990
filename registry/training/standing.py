"""How jobs stand on the whole: how many there are, how long one has waited, and how far those are that run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from registry.db import Database
from registry.training.leases import free, held
from registry.training.rows import TrainingEvent, TrainingJobRow

HELDOUT_LOSS = "full_valid_loss"
"""Measured at few steps, so the newest figures of a job seldom have it."""
_ROW = TrainingJobRow


@dataclass(frozen=True, slots=True)
class RunningJob:
    """One that a worker trains."""

    id: str
    adapter: str
    """`tenant/adapter`."""
    figures: Mapping[str, Any]
    """Of its newest step, as in its events; and the newest loss on held-out rows."""


@dataclass(frozen=True, slots=True)
class JobsStanding:
    """Of jobs that have not ended."""

    counts: Mapping[str, int]
    """By status, `paused` among them; those of which there is none are left out."""
    longest_wait_ms: int
    """Since no worker has the job that has waited longest for one; 0: none waits."""
    running: tuple[RunningJob, ...]
    """The newest ones."""


def jobs_standing(db: Database, at_ms: int, most_running: int) -> JobsStanding:
    """As it is then; at most so many of those that run are told of one by one."""
    with db.read() as session:
        return JobsStanding(_counts(session), _longest_wait_ms(session, at_ms), _running(session, at_ms, most_running))


def _counts(session: Session) -> dict[str, int]:
    query = select(_ROW.status, _ROW.pauses, func.count()).where(_ROW.finished_at_ms.is_(None))
    counts: dict[str, int] = {}
    for status, pauses, count in session.execute(query.group_by(_ROW.status, _ROW.pauses)):
        name = "paused" if pauses else status
        counts[name] = counts.get(name, 0) + count
    return counts


def _longest_wait_ms(session: Session, at_ms: int) -> int:
    oldest = select(func.min(func.coalesce(_ROW.taken_at_ms, _ROW.created_at_ms))).where(
        _ROW.finished_at_ms.is_(None), _ROW.pauses.is_(False), free(at_ms)
    )
    since_ms = session.scalars(oldest).one()
    return 0 if since_ms is None else max(0, at_ms - since_ms)


def _running(session: Session, at_ms: int, most: int) -> tuple[RunningJob, ...]:
    query = select(_ROW.number, _ROW.id, _ROW.tenant, _ROW.ordered["adapter"].as_string()).where(
        _ROW.finished_at_ms.is_(None), _ROW.status == "running", held(_ROW.lease_until_ms, at_ms)
    )
    found = session.execute(query.order_by(_ROW.number.desc()).limit(most)).all()
    return tuple(
        RunningJob(id_, f"{tenant}/{adapter}", _figures(session, number)) for number, id_, tenant, adapter in found
    )


def _figures(session: Session, number: int) -> dict[str, Any]:
    event = TrainingEvent
    measured = select(event.data).where(event.job_number == number, event.type == "metrics")
    newest = measured.order_by(event.number.desc()).limit(1)
    heldout = newest.where(event.data[HELDOUT_LOSS].as_float().is_not(None))
    found: dict[str, Any] = {}
    for query in (heldout, newest):
        for data in session.scalars(query):
            found |= data if query is newest else {HELDOUT_LOSS: data[HELDOUT_LOSS]}
    return found
