"""`/admin/v1/jobs`: fine-tuning jobs of all tenants."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from gateway.api.admin.office import Office, in_json, one_page
from gateway.api.admin.shapes import Actor, After, Limit, Next, Order, Shape
from gateway.training.workshop import has_just_succeeded
from registry.training.curve import curve_of
from registry.training.jobs import EventType, JobCheckpoint, TrainingJob

Tenant = Annotated[str | None, Query(description="Only this tenant's.")]
OfType = Annotated[EventType | None, Query(description="Only such events.")]
JobId = Annotated[str, Path(max_length=63, description="ftjob-….")]


class JobDocument(Shape):
    """One job."""

    id: str = Field(description="ftjob-….")
    tenant: str = Field(description="Who ordered it.")
    status: str = Field(
        description="validating_files, queued, running, paused; at the end succeeded, failed or cancelled."
    )
    model: str = Field(description="As the tenant called it.")
    base: str = Field(description="Public name of the base model.")
    continues: str | None = Field(description="tenant/adapter@1.0 that training goes on from; null: from the base.")
    method: str = Field(description="supervised or dpo.")
    adapter: str = Field(description="tenant/adapter that the result is a version of.")
    training_file: str = Field(description="file-….")
    validation_file: str | None = Field(description="file-…; null: some rows of the training file are held out.")
    hyperparameters: dict[str, Any] = Field(description="In force; auto until a worker has put a number there.")
    options: dict[str, Any] = Field(description="`switchyard` of the order.")
    metadata: dict[str, str] | None = Field(description="The tenant's own.")
    created_at_ms: int = Field(description="Milliseconds since the epoch.")
    started_at_ms: int | None = Field(description="When training began.")
    finished_at_ms: int | None = Field(description="When it ended.")
    estimated_finish_ms: int | None = Field(description="When it is thought to end; null: nobody knows.")
    worker: str | None = Field(description="Who has it now.")
    trained_tokens: int | None = Field(description="Tokens that were trained on.")
    fine_tuned_model: str | None = Field(description="ft:…, the name of the result.")
    version: str | None = Field(description="tenant/adapter@1.0 that it became; null: none, or it is gone.")
    error: dict[str, str | None] | None = Field(description="code, message and param of a failure.")
    facts: dict[str, Any] = Field(description="What its workers have found out.")


class JobsDocument(Shape):
    """A page of jobs, newest first."""

    jobs: list[JobDocument]
    next: Next


class JobEventDocument(Shape):
    """One thing that happened in a job."""

    id: str = Field(description="ftevent-….")
    created_at_ms: int = Field(description="Milliseconds since the epoch.")
    level: str = Field(description="info, warn or error.")
    message: str = Field(description="For people.")
    type: str = Field(description="message or metrics.")
    data: dict[str, Any] = Field(description="Figures of a step, and such.")


class JobEventsDocument(Shape):
    """A page of events, newest first."""

    events: list[JobEventDocument]
    next: Next


class CurveDocument(Shape):
    """What was measured while a job was trained, by step."""

    total_steps: int | None = Field(description="Steps in all; null: no worker has said yet.")
    steps: list[int] = Field(description="Steps that were measured, ascending.")
    values: dict[str, list[float | None]] = Field(
        description="By measure, one value a step: losses in nats per answer token, accuracies as shares, "
        "learning_rate, grad_norm, tokens_per_second."
    )
    is_thinned: bool = Field(description="Whether steps were left out; never the last, nor validations that fit.")


class CheckpointDocument(Shape):
    """A state that training can go on from."""

    id: str = Field(description="ftckpt-….")
    created_at_ms: int = Field(description="Milliseconds since the epoch.")
    step: int = Field(description="Of the optimiser, from 1.")
    metrics: dict[str, float | None] = Field(description="As measured at that step.")
    is_stored: bool = Field(description="Whether its bytes are still there.")


class CheckpointsDocument(Shape):
    """A page of checkpoints, newest first."""

    checkpoints: list[CheckpointDocument]
    next: Next


class Steering(Order):
    """Cancel, pause or resume a job."""

    actor: Actor


def add_jobs(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    jobs = office.registry.training

    def served(page: Sequence[TrainingJob]) -> None:
        if any(map(has_just_succeeded, page)):
            office.registry.wait_until_served()

    def document(job: TrainingJob) -> JobDocument:
        return _document(job, None if job.version_id is None else office.name_of(job.version_id))

    @router.get("/jobs", response_model=JobsDocument)
    def list_jobs(tenant: Tenant = None, after: After = None, limit: Limit = 100) -> Response:
        """Every job, the newest first."""
        page, following = one_page(jobs.page(tenant, after, limit + 1), limit, attrgetter("id"))
        served(page)
        return in_json(JobsDocument(jobs=[document(job) for job in page], next=following))

    @router.get("/jobs/{job_id}")
    def show_job(job_id: JobId) -> JobDocument:
        """One job."""
        job = jobs.get(None, job_id)
        served([job])
        return document(job)

    @router.get("/jobs/{job_id}/events", response_model=JobEventsDocument)
    def list_job_events(job_id: JobId, type: OfType = None, after: After = None, limit: Limit = 100) -> Response:
        """What happened in a job, the newest first."""
        page, following = one_page(jobs.events(None, job_id, after, limit + 1, type), limit, attrgetter("id"))
        served([jobs.get(None, job_id)])
        events = [JobEventDocument.model_validate(event) for event in page]
        return in_json(JobEventsDocument(events=events, next=following))

    @router.get("/jobs/{job_id}/curve")
    def show_job_curve(
        job_id: JobId, points: Annotated[int, Query(ge=10, le=2_000, description="Steps at most.")] = 400
    ) -> CurveDocument:
        """Losses, learning rate, gradient and speed by step."""
        return CurveDocument.model_validate(curve_of(office.registry.db, job_id, points))

    @router.get("/jobs/{job_id}/checkpoints")
    def list_job_checkpoints(job_id: JobId, after: After = None, limit: Limit = 100) -> CheckpointsDocument:
        """States that training could go on from, the newest first."""
        page, following = one_page(jobs.checkpoints(None, job_id, after, limit + 1), limit, attrgetter("id"))
        return CheckpointsDocument(checkpoints=[_checkpoint(one) for one in page], next=following)

    @router.post("/jobs/{job_id}/cancel")
    def cancel_job(job_id: JobId, order: Steering) -> JobDocument:
        """End a job now: its worker stops within seconds, and nothing of it is published."""
        return document(jobs.order(None, job_id, "cancel", operator=order.actor))

    @router.post("/jobs/{job_id}/pause")
    def pause_job(job_id: JobId, order: Steering) -> JobDocument:
        """Have a job wait: its worker saves a checkpoint and gives it back."""
        return document(jobs.order(None, job_id, "pause", operator=order.actor))

    @router.post("/jobs/{job_id}/resume")
    def resume_job(job_id: JobId, order: Steering) -> JobDocument:
        """Let a paused job go on, from its last checkpoint."""
        return document(jobs.order(None, job_id, "resume", operator=order.actor))


def _checkpoint(one: JobCheckpoint) -> CheckpointDocument:
    return CheckpointDocument(
        id=one.id,
        created_at_ms=one.created_at_ms,
        step=one.step,
        metrics=dict(one.metrics),
        is_stored=one.blob is not None,
    )


def _document(job: TrainingJob, version: str | None) -> JobDocument:
    order = job.order
    error = job.error
    return JobDocument(
        id=job.id,
        tenant=job.tenant,
        status=job.status,
        model=order.model,
        base=order.base,
        continues=order.continues,
        method=order.method,
        adapter=f"{job.tenant}/{job.adapter}",
        training_file=order.training_file,
        validation_file=order.validation_file,
        hyperparameters=dict(job.hyperparameters),
        options=dict(order.options),
        metadata=None if order.metadata is None else dict(order.metadata),
        created_at_ms=job.created_at_ms,
        started_at_ms=job.started_at_ms,
        finished_at_ms=job.finished_at_ms,
        estimated_finish_ms=job.estimated_finish_ms,
        worker=job.worker,
        trained_tokens=job.trained_tokens,
        fine_tuned_model=job.fine_tuned_model,
        version=version,
        error=None if error is None else {"code": error.code, "message": error.message, "param": error.param},
        facts=dict(job.facts),
    )
