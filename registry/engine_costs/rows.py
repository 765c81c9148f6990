"""What engines cost, when they were there, and for how long they were busy."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Float, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from registry.tables import Base, BigId, one_at_a_time


class EngineCostLine(Base):
    """A line of the log of engine costs. Triggers refuse UPDATE and DELETE."""

    __tablename__ = "engine_cost_log"
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    scope: Mapped[str] = mapped_column(String(210))
    kind: Mapped[str] = mapped_column(String(20))
    nano_per_hour: Mapped[int]
    terms: Mapped[dict[str, Any]]
    """Decimal numbers in text, from which `nano_per_hour` was worked out."""
    effective_from_ms: Mapped[int]
    correction: Mapped[bool] = mapped_column(Boolean)
    source: Mapped[str] = mapped_column(String(500))
    actor: Mapped[str] = mapped_column(String(100))
    added_at_ms: Mapped[int]
    digest: Mapped[str] = mapped_column(String(80))


class EngineSpanRow(Base):
    """One stay of an engine: from when it was first there to when it was last seen."""

    __tablename__ = "engine_spans"
    __table_args__ = (
        Index("ix_engine_spans_seen_at_ms", "seen_at_ms"),
        one_at_a_time("uq_engine_spans_open", "ended_at_ms", "engine_id"),
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    engine_id: Mapped[str] = mapped_column(String(200))
    url: Mapped[str] = mapped_column(String(200))
    host: Mapped[str] = mapped_column(String(200))
    pool: Mapped[str | None] = mapped_column(String(63))
    base_digest: Mapped[str] = mapped_column(String(80))
    kind: Mapped[str] = mapped_column(String(40))
    """Kind and platform of the engine, such as `vllm on gpu`; empty: not known."""
    boot_ms: Mapped[int]
    """Of its process that was seen last; 0: not known."""
    started_at_ms: Mapped[int]
    seen_at_ms: Mapped[int]
    ended_at_ms: Mapped[int | None]
    """When it was seen last before it went; NULL while it is there."""
    known_at_ms: Mapped[int]
    """Since when it is known, from its begin on: bills that were made before had none of it."""
    derived: Mapped[bool] = mapped_column(Boolean)
    """Whether it was made of readings and usage, as nobody wrote spans then."""


class EngineBusyDay(Base):
    """For how long an engine was busy on a UTC day that is over."""

    __tablename__ = "engine_busy_days"
    day: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    engine_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    busy_ms: Mapped[int]
    load_ms: Mapped[int]
    """Of `busy_ms`, that in which a load ran and no attempt."""
    carried_ms: Mapped[int]
    """Of `busy_ms`, that in which attempts of the day before ran and none of this one."""
    attempts: Mapped[int]
    """Of this day and the one before it, when it was worked out: more of them, and it is worked out again."""
    loads: Mapped[int]
    """Of which some was on this day; likewise."""


class IdlePolicyRow(Base):
    """Who idle time falls to from when on, unless a bill is asked for otherwise. Append-only; the newest counts."""

    __tablename__ = "idle_policies"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    policy: Mapped[str] = mapped_column(String(20))
    shares: Mapped[dict[str, Any]]
    """Tenant → decimal share in text, for `reserved`."""
    actor: Mapped[str] = mapped_column(String(100))
    added_at_ms: Mapped[int]


class EngineSampleRow(Base):
    """What an engine has counted in about a minute in which it worked. Kept for some days, to fit weights from."""

    __tablename__ = "engine_samples"
    __table_args__ = (Index("ix_engine_samples_ended_at_ms", "ended_at_ms"),)
    engine_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    ended_at_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    base_digest: Mapped[str] = mapped_column(String(80))
    kind: Mapped[str] = mapped_column(String(40))
    busy_ms: Mapped[int]
    steps: Mapped[int]
    uncached_tokens: Mapped[int]
    completion_tokens: Mapped[int]


class EngineWeightsRow(Base):
    """A fit of how much engines of a kind work for a token of a base. Append-only; the newest of a day counts."""

    __tablename__ = "engine_weights"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    base_digest: Mapped[str] = mapped_column(String(80))
    kind: Mapped[str] = mapped_column(String(40))
    uncached_ps: Mapped[int]
    completion_ps: Mapped[int]
    step_ps: Mapped[int]
    residual: Mapped[float] = mapped_column(Float)
    samples: Mapped[int]
    made_at_ms: Mapped[int]


class EngineLoadRow(Base):
    """A load of an adapter's version on an engine, until it was proven there."""

    __tablename__ = "engine_loads"
    __table_args__ = (
        Index("ix_engine_loads_ended_at_ms", "ended_at_ms"),
        Index("ix_engine_loads_engine", "engine_id", "served_model", "ended_at_ms"),
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    engine_id: Mapped[str] = mapped_column(String(200))
    tenant: Mapped[str] = mapped_column(String(63))
    served_model: Mapped[str] = mapped_column(String(200))
    """The version's public name."""
    began_at_ms: Mapped[int]
    ended_at_ms: Mapped[int]
