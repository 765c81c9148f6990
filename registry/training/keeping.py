"""What is kept of a job as it goes on: events, checkpoints, and how it ended. All within the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from registry.db import now_ms
from registry.errors import InvalidInput
from registry.ids import new_id
from registry.training.jobs import Ended, EventType, JobCheckpoint, JobError, Level
from registry.training.rows import TrainingCheckpoint, TrainingEvent, TrainingJobRow
from registry.training.values import checkpoint_of
from registry.webhooks.outbox import add_event

MOST_EVENTS = 5_000
"""Of one job; the oldest figures, and then the oldest messages, make room for new ones."""
MOST_CHECKPOINTS = 1_000
"""Of one job; the oldest whose bytes are gone make room for new ones."""
MOST_MESSAGE_CHARS = 2_000
MOST_DATA_BYTES = 16_384
"""Of an event or of a checkpoint's metrics, as JSON."""
MOST_DETAIL_BYTES = 262_144
"""Of what workers have found out about a job, as JSON."""
SERVED_MS = 2_000
"""Until gateways, which look for changes twice a second, serve a model that a job has made."""
LEFT_MS = 600_000
"""After which any worker deletes what another one should have."""
KEPT_STATES = 2
"""Checkpoints of a job whose bytes are kept: the newest, and the one before, in case that one turns out to be torn."""


def add_job_event(
    session: Session,
    row: TrainingJobRow,
    level: Level,
    message: str,
    type: EventType = "message",  # as OpenAI calls it
    data: Mapping[str, Any] | None = None,
) -> None:
    """Note what happened. Raises `InvalidInput` for too much data."""
    refuse_more(data or {}, MOST_DATA_BYTES, "data")
    if row.events >= MOST_EVENTS:
        _make_room(session, row)
    row.events += 1
    session.add(
        TrainingEvent(
            id=new_id("ftevent"),
            job_number=row.number,
            created_at_ms=now_ms(),
            level=level,
            message=message[:MOST_MESSAGE_CHARS],
            type=type,
            data=dict(data or {}),
        )
    )


def _make_room(session: Session, row: TrainingJobRow) -> None:
    event = TrainingEvent
    oldest = select(event.number).where(event.job_number == row.number)
    oldest = oldest.order_by(event.type == "message", event.number).limit(1)
    session.execute(delete(event).where(event.number.in_(session.scalars(oldest).all())))
    row.events -= 1


def refuse_more(document: Mapping[str, Any], most_bytes: int, param: str) -> None:
    """Raises `InvalidInput` when it is longer than that as JSON, or no JSON."""
    try:
        length = len(json.dumps(document, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{param} cannot be written as JSON ({error})", param=param) from None
    if length > most_bytes:
        raise InvalidInput(f"{param} has {length} bytes as JSON; the most is {most_bytes}", param=param)


def add_checkpoint(
    session: Session, row: TrainingJobRow, step: int, metrics: Mapping[str, Any], blob: str | None
) -> TrainingCheckpoint:
    """Note a state. One of the same step takes the place of the one before. Raises `InvalidInput`."""
    refuse_more(metrics, MOST_DATA_BYTES, "metrics")
    state = TrainingCheckpoint
    of_job = select(state).where(state.job_number == row.number)
    known = session.scalars(of_job.where(state.step == step)).one_or_none()
    newest = session.scalars(of_job.order_by(state.step.desc()).limit(1)).one_or_none()
    if newest is None or step > newest.step:
        row.attempts = 0
    if known is not None:
        known.metrics, known.blob = dict(metrics), blob
        return known
    added = state(
        id=new_id("ftckpt"),
        job_number=row.number,
        created_at_ms=now_ms(),
        step=step,
        metrics=dict(metrics),
        blob=blob,
    )
    session.add(added)
    session.flush()
    _forget_oldest(session, row)
    return added


def _forget_oldest(session: Session, row: TrainingJobRow) -> None:
    state = TrainingCheckpoint
    beyond = select(state.step).where(state.job_number == row.number).order_by(state.step.desc())
    newest_beyond = session.scalars(beyond.offset(MOST_CHECKPOINTS).limit(1)).one_or_none()
    if newest_beyond is not None:
        old = (state.job_number == row.number, state.step <= newest_beyond, state.blob.is_(None))
        session.execute(delete(state).where(*old))


def newest_state(session: Session, row: TrainingJobRow) -> JobCheckpoint | None:
    """From which training can go on."""
    state = TrainingCheckpoint
    query = select(state).where(state.job_number == row.number, state.blob.is_not(None))
    found = session.scalars(query.order_by(state.step.desc()).limit(1)).one_or_none()
    return None if found is None else checkpoint_of(found)


def spent_states(session: Session, limit: int, worker: str) -> list[str]:
    """Names of states that no job goes on from any more: it has ended, or has newer ones. They are those of jobs that
    the worker has, or had last, and what others have left for `LEFT_MS`: so not all workers delete the same ones.
    """
    state, job = TrainingCheckpoint, TrainingJobRow
    newer = state.__table__.alias("newer")
    later = (
        select(newer.c.step)
        .where(newer.c.job_number == state.job_number, newer.c.blob.is_not(None), newer.c.step > state.step)
        .order_by(newer.c.step)
        .offset(KEPT_STATES - 1)
        .limit(1)
        .correlate(state)
    )
    spent = (
        select(state.blob)
        .join(job, job.number == state.job_number)
        .where(state.blob.is_not(None), job.finished_at_ms.is_not(None) | later.exists())
        .where((job.worker == worker) | (func.coalesce(job.finished_at_ms, state.created_at_ms) < now_ms() - LEFT_MS))
        .distinct()
        .limit(limit)
    )
    return [blob for blob in session.scalars(spent) if blob is not None]


def forget_states(session: Session, blobs: list[str]) -> None:
    """Their bytes are gone."""
    session.execute(update(TrainingCheckpoint).where(TrainingCheckpoint.blob.in_(blobs)).values(blob=None))


def end(session: Session, row: TrainingJobRow, status: Ended, error: JobError | None = None) -> None:
    """The job is over."""
    row.status, row.finished_at_ms = status, now_ms()
    row.pauses, row.estimated_finish_ms = False, None
    row.error = None if error is None else asdict(error)
    said = {"succeeded": "The job has succeeded.", "cancelled": "The job was cancelled."}
    message = said.get(status, "The job has failed.") if error is None else f"The job has failed: {error.message}"
    add_job_event(session, row, "error" if status == "failed" else "info", message, data={"status": status})
    wait_ms = 0 if row.fine_tuned_model is None else SERVED_MS
    add_event(session, row.tenant, f"fine_tuning.job.{status}", {"id": row.id}, wait_ms)
