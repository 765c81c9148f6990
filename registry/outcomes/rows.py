"""Outcomes, and how many a tenant has."""

from __future__ import annotations

from sqlalchemy import Float, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

import registry.tenants.rows  # noqa: F401 - foreign keys
from registry.tables import Base, BigId


class Outcome(Base):
    """One value of one metric, of one answer or unit. A trigger refuses to change any column but `words`."""

    __tablename__ = "outcomes"
    __table_args__ = (
        Index("ux_outcomes_tenant_key", "tenant", "key_digest", unique=True),
        Index("ix_outcomes_tenant_source", "tenant", "source", "id"),
        Index("ix_outcomes_adapter_id", "adapter_id", "id"),
        Index("ix_outcomes_unit_hash", "unit_hash"),
        Index("ix_outcomes_at_ms", "at_ms"),
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    """Rises in the order in which rows become visible: see `registry.outcomes.store`."""
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name", ondelete="CASCADE"))
    source: Mapped[str] = mapped_column(String(10))
    """`automatic`, `feedback` or `judge`."""
    at_ms: Mapped[int]
    """When it came in."""
    adapter_id: Mapped[int | None]
    """NULL: of a base model's answer. No foreign key, as in usage rows."""
    request_id: Mapped[str | None] = mapped_column(String(64))
    """Whose answer it is about; NULL: it is about a unit as a whole."""
    split_id: Mapped[int | None]
    """The split that chose the arm, or whose salt is in `unit_hash`; NULL: none."""
    arm: Mapped[str | None] = mapped_column(String(20))
    """The version's number; NULL: it is about a unit, or no split chose."""
    unit_hash: Mapped[str | None] = mapped_column(String(32))
    """As in usage rows."""
    metric: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(7))
    """Of the value: `boolean`, `number` or `label`."""
    value: Mapped[float | None] = mapped_column(Float)
    """NULL: it is a label."""
    words: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sealed: label and comment. NULL: neither."""
    key_digest: Mapped[str | None] = mapped_column(String(32))
    """Of feedback: its idempotency key's. NULL: it cannot come twice."""
    content_digest: Mapped[str | None] = mapped_column(String(32))
    """Of feedback: of all that it said."""


class OutcomeAmount(Base):
    """How many outcomes there are of one tenant and source."""

    __tablename__ = "outcome_amounts"
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name", ondelete="CASCADE"), primary_key=True)
    source: Mapped[str] = mapped_column(String(10), primary_key=True)
    outcomes: Mapped[int]
