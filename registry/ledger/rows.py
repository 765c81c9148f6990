"""What was used, and what was refused."""

from __future__ import annotations

from sqlalchemy import Boolean, Float, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from registry.tables import Base, BigId


class UsageRow(Base):
    """One attempt on an engine, as the journal recorded it. Append-only, keyed by attempt id."""

    __tablename__ = "usage"
    __table_args__ = (
        Index("ix_usage_tenant_started", "tenant", "started_at_ms"),
        Index("ix_usage_started", "started_at_ms"),
    )
    attempt_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    request_id: Mapped[str] = mapped_column(String(64), index=True)
    tenant: Mapped[str] = mapped_column(String(63))
    key_id: Mapped[str] = mapped_column(String(32))
    requested_model: Mapped[str] = mapped_column(String(256))
    served_model: Mapped[str] = mapped_column(String(200))
    version_digest: Mapped[str | None] = mapped_column(String(80))
    """Manifest digest of the version that served; NULL for a base model, and in rows from before it was recorded."""
    split_id: Mapped[int | None]
    arm: Mapped[str | None] = mapped_column(String(20))
    unit_source: Mapped[str | None] = mapped_column(String(40))
    endpoint: Mapped[str] = mapped_column(String(20))
    engine: Mapped[str] = mapped_column(String(200))
    outcome: Mapped[str] = mapped_column(String(30))
    """`ok`, `client_aborted`, `engine_failed`, `load_failed`, `rejected`, `gateway_stopped` (it ran for longer than a
    stopping gateway waits), or `lost` (the process died before the end of the attempt was recorded)."""
    prompt_tokens: Mapped[int | None]
    cached_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    usage_source: Mapped[str | None] = mapped_column(String(20))
    """`engine`: its final count; `partial`: its count up to the last relayed event; `estimated`: ours; NULL: none."""
    ttft_ms: Mapped[float | None] = mapped_column(Float)
    """From the attempt's begin to the first bytes of its answer."""
    cost_nano: Mapped[int | None]
    """At the tariff in force when it began; NULL: there was none. Failures of ours are 0."""
    started_at_ms: Mapped[int]
    finished_at_ms: Mapped[int | None]
    n: Mapped[int | None] = mapped_column(Integer)
    """Answers to each prompt; an engine reads, and counts, the prompt for each of them. NULL is 1."""
    bounded_by_us: Mapped[bool | None]
    """Whether the bound of the answer was ours (the client had named none) or the client's; NULL: it had none."""
    segment: Mapped[str | None] = mapped_column(String(160))
    """The journal segment that the attempt's end is in; NULL for what came by no journal."""


class RefusalDay(Base):
    """Requests of a tenant that were refused before they became attempts, added up by UTC day and reason."""

    __tablename__ = "refusals"
    day: Mapped[int] = mapped_column(Integer, primary_key=True)
    """UTC days since the epoch."""
    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    key_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    model: Mapped[str] = mapped_column(String(200), primary_key=True)
    """Public name of what would have answered; empty when the refusal came before that was known."""
    scope: Mapped[str] = mapped_column(String(200), primary_key=True)
    """What has the limit that refused it, such as `tenant:acme`; empty when no limit did."""
    reason: Mapped[str] = mapped_column(String(60), primary_key=True)
    """A limit's name (`requests_per_minute`, `daily_dollars`, …), else the error's code."""
    refused: Mapped[int]


class UsageDay(Base):
    """Usage rows and corrections, added up (`registry.ledger.usage_days`): what can be made again from these."""

    __tablename__ = "usage_days"
    day: Mapped[int] = mapped_column(Integer, primary_key=True)
    """UTC days since the epoch."""
    writer: Mapped[str] = mapped_column(String(140), primary_key=True)
    """Of the journal that the attempts came by; empty: none; `corrections`: differences, and no attempts."""
    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    key_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    served_model: Mapped[str] = mapped_column(String(200), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(30), primary_key=True)
    attempts: Mapped[int]
    unmetered: Mapped[int]
    """Attempts that an engine worked on, and whose completion nobody counted."""
    unpriced: Mapped[int]
    """Attempts that somebody would pay for, and for which no price was in force."""
    partial: Mapped[int]
    estimated: Mapped[int]
    prompt_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    cost_nano: Mapped[int]
    busy_ms: Mapped[int]
    ttft_us: Mapped[int]
    """Of those attempts of which it is known: `with_ttft`."""
    with_ttft: Mapped[int]
    first_ms: Mapped[int | None]
    """The first attempt's begin."""
    last_ms: Mapped[int | None]
    """The last attempt's end."""


class UsageSegment(Base):
    """A journal segment that was shipped whole (`registry.ledger.segments.SegmentEntry`). Append-only."""

    __tablename__ = "usage_segments"
    __table_args__ = (UniqueConstraint("writer", "sequence"),)
    segment: Mapped[str] = mapped_column(String(160), primary_key=True)
    writer: Mapped[str] = mapped_column(String(140))
    sequence: Mapped[int]
    records: Mapped[int]
    intents: Mapped[int]
    attempts: Mapped[int]
    prompt_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
    previous_digest: Mapped[str] = mapped_column(String(64))
    last: Mapped[bool] = mapped_column(Boolean)
    faults: Mapped[int]
    rows_digest: Mapped[str] = mapped_column(String(16), server_default="")


class UsageCorrection(Base):
    """What an attempt's row should have said, as differences. Append-only: a wrong correction is corrected again."""

    __tablename__ = "usage_corrections"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    attempt_id: Mapped[str] = mapped_column(ForeignKey("usage.attempt_id"), index=True)
    prompt_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    cost_nano: Mapped[int]
    reason: Mapped[str] = mapped_column(String(1000))
    actor: Mapped[str] = mapped_column(String(100))
    created_at_ms: Mapped[int]
