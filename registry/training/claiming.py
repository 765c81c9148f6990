"""Who has a job: leases of workers, and which job is taken up next.

Of the tenants that wait, the one whose jobs the fewest workers have now is next, and of these the one whose turn was
longest ago, with its oldest job: so no tenant waits for another's queue, also where there is one worker. Workers' names
are never used twice.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.orm import Session, aliased

from registry.db import now_ms
from registry.training.jobs import FINAL, LeaseLost, Wanted, Work
from registry.training.leases import free, held
from registry.training.rows import TrainingJobRow

MOST_ATTEMPTS = 5
"""Workers that may end without a word while they have a job that comes no further."""
WORK_IN: dict[str, Work] = {"validating_files": "validate", "queued": "train", "running": "train"}
_ROW = TrainingJobRow


def next_number(session: Session, works: Collection[Work]) -> int | None:
    """The job that is next for somebody who does such work; `None` when there is none."""
    at_ms = now_ms()
    busy = (
        select(_ROW.tenant, func.count().label("jobs"))
        .where(_ROW.finished_at_ms.is_(None), held(_ROW.lease_until_ms, at_ms))
        .group_by(_ROW.tenant)
        .subquery()
    )
    last = aliased(_ROW)
    # What was taken later than now was taken before the clock was put back: its tenant does not wait for that to pass.
    turn = (
        select(func.max(last.taken_at_ms))
        .where(last.tenant == _ROW.tenant, last.taken_at_ms <= at_ms)
        .scalar_subquery()
    )
    statuses = [status for status, work in WORK_IN.items() if work in works]
    waiting = (
        select(_ROW.number)
        .outerjoin(busy, busy.c.tenant == _ROW.tenant)
        .where(
            _ROW.finished_at_ms.is_(None),
            free(at_ms),
            _ROW.pauses.is_(False),
            _ROW.status.in_(statuses),
        )
        .order_by(func.coalesce(busy.c.jobs, 0), func.coalesce(turn, 0), _ROW.number)
        .limit(1)
    )
    return session.scalars(waiting).one_or_none()


def take(session: Session, number: int, worker: str, lease_s: float) -> TrainingJobRow | None:
    """The job's row, which is this worker's now; `None` when somebody was first, or nobody may have it any more."""
    at_ms = now_ms()
    mine = (
        update(_ROW)
        .where(
            _ROW.number == number,
            _ROW.finished_at_ms.is_(None),
            free(at_ms),
            _ROW.pauses.is_(False),
        )
        .values(worker=worker, lease_until_ms=_until(lease_s), attempts=_ROW.attempts + 1, taken_at_ms=at_ms)
    )
    taken = cast("CursorResult[Any]", session.execute(mine.execution_options(synchronize_session=False)))
    return session.get_one(_ROW, number, populate_existing=True) if taken.rowcount else None


def require_lease(session: Session, id_: str, worker: str) -> TrainingJobRow:
    """The job's row, locked, which this worker has and which has not ended. Raises `LeaseLost`."""
    row = session.scalars(select(_ROW).where(_ROW.id == id_).with_for_update()).one_or_none()
    if row is None:
        raise LeaseLost(f"fine-tuning job {id_} is not there any more")
    if row.worker != worker or row.lease_until_ms == 0:
        raise LeaseLost(f"fine-tuning job {id_} is {row.worker or 'nobody'}'s, and not {worker}'s any more")
    if row.finished_at_ms is not None:
        raise LeaseLost(f"fine-tuning job {id_} has ended: it is {row.status}")
    return row


def prolong(session: Session, id_: str, worker: str, lease_s: float) -> Wanted:
    """Keep the job for so long from now, and hear what to do with it. Raises as `require_lease`, but for a job that was
    cancelled meanwhile.
    """
    row = session.scalars(select(_ROW).where(_ROW.id == id_).with_for_update()).one_or_none()
    if row is not None and row.worker == worker and row.status == "cancelled":
        return "cancel"
    row = require_lease(session, id_, worker)
    row.lease_until_ms = _until(lease_s)
    return "pause" if row.pauses else "run"


def give_back(session: Session, id_: str, worker: str, *, in_order: bool = True) -> None:
    """Let another worker have the job at once; it goes on from its last checkpoint. Of a job that has ended or that
    another has there is nothing to give back. One that is not given back in order counts as taken up in vain.
    """
    row = session.scalars(select(_ROW).where(_ROW.id == id_).with_for_update()).one_or_none()
    if row is None or row.worker != worker or row.status in FINAL:
        return
    row.worker, row.lease_until_ms = None, 0
    if in_order:
        row.attempts = max(0, row.attempts - 1)
    if row.status == "running":
        row.status, row.estimated_finish_ms = "queued", None


def _until(lease_s: float) -> int:
    return now_ms() + int(lease_s * 1000)
