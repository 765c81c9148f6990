"""Prices: of APIs, and what tenants pay."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from registry.tables import Base, BigId


class BaselineLine(Base):
    """A line of the log of baselines: a price of one component, or a fact. Triggers refuse UPDATE and DELETE."""

    __tablename__ = "baseline_log"
    __table_args__ = (Index("ix_baseline_log_name", "name", "seq"),)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(200))
    field: Mapped[str] = mapped_column(String(20))
    effective_from_ms: Mapped[int]
    nano: Mapped[int | None]
    """Of a component: nano-dollars per million tokens, `NULL`: none from then on. Of a claim: per month."""
    text: Mapped[str | None] = mapped_column(String(500))
    source: Mapped[str] = mapped_column(String(500))
    origin: Mapped[str] = mapped_column(String(20))
    retrieved_at_ms: Mapped[int | None]
    stated_from_ms: Mapped[int | None]
    correction: Mapped[bool]
    note: Mapped[str] = mapped_column(String(500))
    added_at_ms: Mapped[int]
    digest: Mapped[str] = mapped_column(String(80))


class Tariff(Base):
    """A dated token price of what a scope names; triggers refuse UPDATE and DELETE: a new price is a new row, and takes
    the place of older rows that would begin no earlier.
    """

    __tablename__ = "tariffs"
    __table_args__ = (Index("ix_tariffs_scope", "scope"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    scope: Mapped[str] = mapped_column(String(200))
    """`base:NAME`, `tenant:NAME` or `adapter:tenant/adapter`."""
    effective_from_ms: Mapped[int]
    input_nano_per_mtok: Mapped[int]
    cached_input_nano_per_mtok: Mapped[int]
    output_nano_per_mtok: Mapped[int]
    source: Mapped[str] = mapped_column(String(500))
    added_at_ms: Mapped[int]


class RetirementNotice(Base):
    """That a tenant was told when the model ends that a name of its own stands for at a vendor."""

    __tablename__ = "retirement_notices"
    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(256), primary_key=True)
    ends_at_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    told_at_ms: Mapped[int]
