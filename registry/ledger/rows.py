"""What was used, and what was refused."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from registry.ledger.usage_record import COLUMNS, CORRECTABLE, DAY_KEYS
from registry.tables import Base, BigId

DAY_SUMS = (
    "attempts",
    "unmetered",  # an engine worked on them, and nobody counted their completion
    "unpriced",  # somebody would pay for them, and no price was in force
    "partial",
    "estimated",
    *CORRECTABLE,
    "busy_ms",
    "ttft_us",  # of those attempts of which it is known: `with_ttft`
    "with_ttft",
)
DAY_TIMES = ("first_ms", "last_ms")
"""The first attempt's begin, and the last one's end."""


USAGE = Table(
    "usage",
    Base.metadata,
    *(column.sql(primary_key=column.name == "attempt_id") for column in COLUMNS),
    Index("ix_usage_request_id", "request_id"),
    Index("ix_usage_tenant_started", "tenant", "started_at_ms"),
    Index("ix_usage_started", "started_at_ms"),
)
"""A `UsageRow` for each attempt, as the journal recorded it. Append-only."""


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


USAGE_DAYS = Table(
    "usage_days",
    Base.metadata,
    Column("day", Integer, primary_key=True),  # UTC days since the epoch
    Column("writer", String(140), primary_key=True),
    *(column.sql(primary_key=True, nullable=False) for column in DAY_KEYS),
    *(Column(name, BigInteger, nullable=False) for name in DAY_SUMS),
    *(Column(name, BigInteger) for name in DAY_TIMES),
)
"""Usage rows and corrections, added up (`registry.ledger.usage_days`): what can be made again from these.

`writer` is that of the journal that the attempts came by; empty: none; `corrections`: differences, and no attempts.
"""


class JumpLook(Base):
    """How far one UTC day that is over has been looked at for jumps of what tenants cost."""

    __tablename__ = "jump_looks"
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    looked_until: Mapped[str] = mapped_column(String(63))
    """The last tenant, by name, that was looked at; empty: none yet, or all of them."""
    ended_at_ms: Mapped[int | None]
    keeps: Mapped[bool] = mapped_column(Boolean)
    """Whether what is found is kept, as it is by looks of this release."""


class CostJump(Base):
    """A jump of what a tenant cost, as it was found when the day had been over for a while."""

    __tablename__ = "cost_jumps"
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    said: Mapped[dict[str, Any]]
    """As the admin API tells it."""


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
