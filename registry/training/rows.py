"""Fine-tuning jobs of tenants, what happened in them, and where they can go on from."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

import registry.tenants.rows  # noqa: F401 - foreign keys
from registry.tables import Base, BigId, partial_index

ID_CHARS = 63
"""The most that the id of a job has: it may become the name of an adapter."""


class TrainingJobRow(Base):
    """One job. `number` is its place in the order in which jobs were made."""

    __tablename__ = "training_jobs"
    __table_args__ = (
        Index("ix_training_jobs_tenant_number", "tenant", "number"),
        Index("ix_training_jobs_tenant_taken", "tenant", "taken_at_ms"),
        partial_index("ix_training_jobs_unfinished", "tenant", while_null="finished_at_ms"),
        UniqueConstraint("tenant", "idempotency_key"),
    )
    number: Mapped[int] = mapped_column(BigId, primary_key=True)
    id: Mapped[str] = mapped_column(String(ID_CHARS), unique=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"))
    created_at_ms: Mapped[int]
    status: Mapped[str] = mapped_column(String(20))
    """Never `paused`: a job that is to pause keeps the status that it goes on in."""
    pauses: Mapped[bool] = mapped_column(Boolean)
    ordered: Mapped[dict[str, Any]]
    """What was asked for, as `registry.training.jobs.JobOrder`, but for tenant and idempotency key."""
    order_digest: Mapped[str] = mapped_column(String(80))
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    has_metadata: Mapped[bool] = mapped_column(Boolean)

    worker: Mapped[str | None] = mapped_column(String(140))
    """Who has it, or had it last."""
    lease_until_ms: Mapped[int]
    """Another worker may have it from then on; 0: nobody has it."""
    taken_at_ms: Mapped[int | None]
    """When a worker took it last; NULL: none has."""
    attempts: Mapped[int] = mapped_column(Integer)
    """How often a worker has taken it up since it last came further."""

    started_at_ms: Mapped[int | None]
    finished_at_ms: Mapped[int | None]
    estimated_finish_ms: Mapped[int | None]
    hyperparameters: Mapped[dict[str, Any]]
    """In force: as ordered, until a worker has put numbers where `auto` was."""
    trained_tokens: Mapped[int | None]
    fine_tuned_model: Mapped[str | None] = mapped_column(String(256))
    version_id: Mapped[int | None]
    """Of the adapter that it became; the version may be gone."""
    result_files: Mapped[list[Any]]
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    facts: Mapped[dict[str, Any]]
    """What else its workers have found out: the quote, the recipe, how far it is."""
    events: Mapped[int] = mapped_column(Integer)
    """How many there are of it."""


class TrainingMetadata(Base):
    """One pair of a job's metadata, to find jobs by."""

    __tablename__ = "training_metadata"
    job_number: Mapped[int] = mapped_column(ForeignKey("training_jobs.number", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(512))


class TrainingEvent(Base):
    """One thing that happened in a job."""

    __tablename__ = "training_events"
    __table_args__ = (Index("ix_training_events_job_number", "job_number", "number"),)
    number: Mapped[int] = mapped_column(BigId, primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    job_number: Mapped[int] = mapped_column(ForeignKey("training_jobs.number", ondelete="CASCADE"))
    created_at_ms: Mapped[int]
    level: Mapped[str] = mapped_column(String(10))
    message: Mapped[str] = mapped_column(String(2_000))
    type: Mapped[str] = mapped_column(String(10))
    data: Mapped[dict[str, Any]]


class TrainingCheckpoint(Base):
    """A state of a job from which training can go on."""

    __tablename__ = "training_checkpoints"
    __table_args__ = (UniqueConstraint("job_number", "step"),)
    number: Mapped[int] = mapped_column(BigId, primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    job_number: Mapped[int] = mapped_column(ForeignKey("training_jobs.number", ondelete="CASCADE"))
    created_at_ms: Mapped[int]
    step: Mapped[int]
    metrics: Mapped[dict[str, Any]]
    blob: Mapped[str | None] = mapped_column(String(200), index=True)
    """Names the bytes of the state; NULL when they are not needed any more and were deleted."""
