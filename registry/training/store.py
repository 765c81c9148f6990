"""Fine-tuning jobs in the database: one side for who orders them, one for the workers that carry them out.

Every question of a tenant names tenant and id together, so another tenant's job is none. `tenant=None` is the operator,
who sees all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from registry.db import Database, now_ms
from registry.errors import InvalidInput
from registry.ids import is_id
from registry.tenants.actions import record_action
from registry.tenants.store import require_tenant
from registry.training.claiming import (
    MOST_ATTEMPTS,
    WORK_IN,
    give_back,
    next_number,
    prolong,
    require_lease,
    take,
)
from registry.training.finishing import forget_model, succeed
from registry.training.jobs import (
    FINAL,
    Claim,
    Ended,
    EventType,
    Facts,
    Going,
    JobCheckpoint,
    JobError,
    JobEvent,
    JobHasEnded,
    JobOrder,
    LeaseLost,
    Level,
    NoSuchJob,
    Publication,
    TrainingJob,
    Wanted,
    Wish,
    Work,
)
from registry.training.keeping import (
    MOST_DETAIL_BYTES,
    add_checkpoint,
    add_job_event,
    end,
    forget_states,
    newest_state,
    refuse_more,
    spent_states,
)
from registry.training.ordering import place_order
from registry.training.rows import TrainingCheckpoint, TrainingEvent, TrainingJobRow, TrainingMetadata
from registry.training.values import checkpoint_of, event_of, job_of

if TYPE_CHECKING:
    from registry.adapters.store import Adapters

MOST_UNFINISHED = 20
"""Jobs of a tenant that have not ended, unless the gateway's settings say otherwise."""
NO_FILTER: Mapping[str, str] = MappingProxyType({})
WORKERS_LOST = JobError(
    "worker_lost",
    f"Workers took the job up {MOST_ATTEMPTS} times and ended each time before it came further; the host may have run "
    "out of memory. Try a smaller batch_size or switchyard.training.max_length_tokens, or ask the operator to look at "
    "`switchyard jobs events`.",
)
_BEGINS: Mapping[Going, str] = {
    "queued": "The files are valid. Waiting for a worker to train.",
    "running": "A worker has begun to train.",
}
_DONE: Mapping[Wish, str] = {"cancel": "cancelled", "pause": "paused", "resume": "resumed"}
_ROW = TrainingJobRow

R = TypeVar("R", TrainingEvent, TrainingCheckpoint)


class TrainingJobs:
    """The jobs of all tenants."""

    def __init__(self, db: Database, adapters: Adapters) -> None:
        self._db = db
        self._adapters = adapters

    # For who orders

    def create(self, order: JobOrder, *, most_unfinished: int = MOST_UNFINISHED) -> TrainingJob:
        """The job of an order. The same order sent again soon, or under the same idempotency key, is the same job.

        Raises `NotFound` without the tenant, `TooManyJobs`, `KeyOfAnotherOrder`.
        """
        with self._db.write() as session:
            require_tenant(session, order.tenant, lock=True)
            row, is_new = place_order(session, order, most_unfinished)
            if is_new:
                add_job_event(session, row, "info", f"Created fine-tuning job: {row.id}")
                add_job_event(session, row, "info", "Waiting for a worker to check the training file.")
            return job_of(row)

    def get(self, tenant: str | None, id_: str) -> TrainingJob:
        """One job. Raises `NoSuchJob`."""
        with self._db.read() as session:
            return job_of(_require(session, tenant, id_))

    def page(
        self,
        tenant: str | None,
        after: str | None,
        limit: int,
        metadata: Mapping[str, str] | None = NO_FILTER,
        adapters: Collection[str] | None = None,
    ) -> list[TrainingJob]:
        """Jobs, newest first, that were made before the job `after`.

        With `metadata`: those that have all of these pairs among theirs; `None`: those that have no metadata. With
        `adapters`: those whose result is a version of one of these. Raises `NoSuchJob` for `after`.
        """
        query = select(_ROW).order_by(_ROW.number.desc()).limit(limit)
        if tenant is not None:
            query = query.where(_ROW.tenant == tenant)
        if adapters is not None:
            query = query.where(_ROW.ordered["adapter"].as_string().in_(sorted(adapters)))
        if metadata is None:
            query = query.where(_ROW.has_metadata.is_(False))
        for key, value in (metadata or {}).items():
            pair = select(TrainingMetadata.job_number).where(
                TrainingMetadata.job_number == _ROW.number,
                TrainingMetadata.key == key,
                TrainingMetadata.value == value,
            )
            query = query.where(pair.exists())
        with self._db.read() as session:
            if after is not None:
                query = query.where(_ROW.number < _require(session, tenant, after).number)
            return [job_of(row) for row in session.scalars(query)]

    def order(self, tenant: str | None, id_: str, wish: Wish, *, operator: str | None = None) -> TrainingJob:
        """Cancel, pause or resume a job; what is so already stays so. A cancelled job is over at once.

        `operator` is who orders it, if it is not the tenant.

        Raises `NoSuchJob`, `JobHasEnded`.
        """
        with self._db.write() as session:
            row = _require(session, tenant, id_, lock=True)
            if row.status in FINAL and not (row.status == "cancelled" and wish == "cancel"):
                raise JobHasEnded(
                    f"fine-tuning job {id_} is {row.status}, so it cannot be {_DONE[wish]}", param="fine_tuning_job_id"
                )
            if wish == "cancel" and row.status not in FINAL:
                end(session, row, "cancelled")
            elif wish != "cancel" and row.pauses != (wish == "pause"):
                row.pauses = wish == "pause"
                add_job_event(session, row, "info", f"The job was {_DONE[wish]}.")
            else:
                return job_of(row)
            if operator is not None:
                record_action(session, operator, f"job.{_DONE[wish]}", row.tenant, id_)
            return job_of(row)

    def events(
        self, tenant: str | None, id_: str, after: str | None, limit: int, type: EventType | None = None
    ) -> list[JobEvent]:
        """What happened, newest first, before the event `after`; with `type` events of that type alone. Raises
        `NoSuchJob`, `InvalidInput` for `after`.
        """
        with self._db.read() as session:
            job = _require(session, tenant, id_)
            wanted = () if type is None else (TrainingEvent.type == type,)
            return [event_of(row) for row in _newest(session, TrainingEvent, job, "event", after, limit, *wanted)]

    def checkpoints(self, tenant: str | None, id_: str, after: str | None, limit: int) -> list[JobCheckpoint]:
        """Its checkpoints, newest first, before `after`. Raises `NoSuchJob`, `InvalidInput` for `after`."""
        with self._db.read() as session:
            job = _require(session, tenant, id_)
            return [checkpoint_of(row) for row in _newest(session, TrainingCheckpoint, job, "checkpoint", after, limit)]

    def unfinished_with(self, tenant: str, file_id: str) -> list[str]:
        """Ids of the tenant's jobs that need a file and have not ended."""
        with self._db.read() as session:
            rows = session.scalars(select(_ROW).where(_ROW.tenant == tenant, _ROW.finished_at_ms.is_(None)))
            return [row.id for row in rows if file_id in (row.ordered["training_file"], row.ordered["validation_file"])]

    def forget_model(self, tenant: str, name: str, *, actor: str) -> bool:
        """Take the name of a job's result away; whether its version, which nothing else leads to, is served no more.

        Raises `NotFound`, `NotOfAJob`.
        """
        with self._db.write() as session:
            return forget_model(session, tenant, name, actor)

    # For workers

    def claim(self, worker: str, lease_s: float, works: Collection[Work] = ("validate", "train")) -> Claim | None:
        """The next job for somebody who does such work, which has it for so long; `None` when none waits.

        A job whose worker has let its lease end is taken over. One that comes no further, however often it is taken up,
        has failed.
        """
        while True:
            with self._db.read() as session:  # nobody waits for a lock to find out that there is nothing to do
                number = next_number(session, works)
            if number is None:
                return None
            with self._db.write() as session:
                row = take(session, number, worker, lease_s)
                if row is None:
                    continue
                if row.attempts > MOST_ATTEMPTS:
                    end(session, row, "failed", WORKERS_LOST)
                    continue
                return Claim(job_of(row), WORK_IN[row.status], row.attempts, newest_state(session, row))

    def renew(self, id_: str, worker: str, lease_s: float) -> Wanted:
        """Keep a job for so long from now; what to do with it. After `cancel` nothing else is taken from the worker,
        after `pause` it saves a checkpoint and releases the job. Raises `LeaseLost`.
        """
        with self._db.write() as session:
            return prolong(session, id_, worker, lease_s)

    def say(
        self,
        id_: str,
        worker: str,
        level: Level,
        message: str,
        type: EventType = "message",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Note an event. Raises `LeaseLost`, `InvalidInput` for too much data."""
        with self._db.write() as session:
            add_job_event(session, require_lease(session, id_, worker), level, message, type, data)

    def advance(self, id_: str, worker: str, status: Going | None = None, **facts: Unpack[Facts]) -> TrainingJob:
        """Bring a job to `queued` (its files are valid) or `running`, and note what is known of it now.

        Raises `LeaseLost`, `InvalidInput` for too many facts.
        """
        with self._db.write() as session:
            row = require_lease(session, id_, worker)
            if status is not None and status != row.status:
                if status == "queued":
                    row.attempts = 0
                if status == "running" and row.started_at_ms is None:
                    row.started_at_ms = now_ms()
                row.status = status
                add_job_event(session, row, "info", _BEGINS[status])
            detail = facts.pop("detail", None)
            if detail is not None:
                row.facts = {**row.facts, **detail}
                refuse_more(row.facts, MOST_DETAIL_BYTES, "detail")
            for name, value in facts.items():
                setattr(row, name, value)
            return job_of(row)

    def checkpoint(
        self, id_: str, worker: str, step: int, metrics: Mapping[str, Any], blob: str | None = None
    ) -> JobCheckpoint:
        """Note a state that training can go on from; `blob` names its bytes, which are stored. Raises `LeaseLost`,
        `InvalidInput` for too many metrics.
        """
        with self._db.write() as session:
            row = require_lease(session, id_, worker)
            return checkpoint_of(add_checkpoint(session, row, step, metrics, blob))

    def release(self, id_: str, worker: str, *, in_order: bool = True) -> None:
        """Give a job back: the next worker goes on from its last checkpoint. Of what has ended, or was lost, nothing is
        given back. After `MOST_ATTEMPTS` that were not in order, and came no further, it has failed.
        """
        with self._db.write() as session:
            give_back(session, id_, worker, in_order=in_order)

    def finish(
        self,
        id_: str,
        worker: str,
        status: Ended,
        *,
        error: JobError | None = None,
        publication: Publication | None = None,
        trained_tokens: int | None = None,
        result_files: Sequence[str] = (),
    ) -> TrainingJob:
        """The job has ended. With a `publication` the version, its name and the job's end are one transaction.

        Raises `LeaseLost`, and for a publication what `registry.adapters.publish` raises; then nothing has changed.
        """

        def ended(session: Session) -> TrainingJobRow:
            row = require_lease(session, id_, worker)
            row.result_files = list(result_files)
            if trained_tokens is not None:
                row.trained_tokens = trained_tokens
            return row

        if publication is not None:
            job = self.get(None, id_)
            return job_of(succeed(self._adapters, job, publication, ended))
        with self._db.write() as session:
            row = ended(session)
            end(session, row, status, error)
            return job_of(row)

    def remark(self, id_: str, level: Level, message: str, data: Mapping[str, Any] | None = None) -> None:
        """Note what became of the result of a job that has ended. Raises `NoSuchJob`, `LeaseLost` for one that has not,
        which only its worker says things of.
        """
        with self._db.write() as session:
            row = _require(session, None, id_, lock=True)
            if row.status not in FINAL:
                raise LeaseLost(f"fine-tuning job {id_} has not ended")
            add_job_event(session, row, level, message, "message", data)

    def spent_states(self, limit: int, worker: str) -> list[str]:
        """Names of checkpoints' bytes that nobody needs any more, and this worker is to delete: it says so by
        `forget_states`.
        """
        with self._db.read() as session:
            return spent_states(session, limit, worker)

    def forget_states(self, blobs: Sequence[str]) -> None:
        """These bytes are deleted."""
        with self._db.write() as session:
            forget_states(session, list(blobs))


def _require(session: Session, tenant: str | None, id_: str, *, lock: bool = False) -> TrainingJobRow:
    query = select(_ROW).where(_ROW.id == id_)
    if tenant is not None:
        query = query.where(_ROW.tenant == tenant)
    row = session.scalars(query.with_for_update() if lock else query).one_or_none() if is_id(id_) else None
    if row is None:
        raise NoSuchJob(id_)
    return row


def _newest(
    session: Session,
    kind: type[R],
    job: TrainingJobRow,
    what: str,
    after: str | None,
    limit: int,
    *wanted: ColumnElement[bool],
) -> Sequence[R]:
    query = select(kind).where(kind.job_number == job.number)
    if after is not None:
        last = session.scalars(query.where(kind.id == after)).one_or_none() if is_id(after) else None
        if last is None:
            raise InvalidInput(
                f"after is {after[:80]!r}, which is no {what} of this job; send the id of one that was listed",
                param="after",
            )
        query = query.where(kind.number < last.number)
    return session.scalars(query.where(*wanted).order_by(kind.number.desc()).limit(limit)).all()
