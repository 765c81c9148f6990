"""Experiments, what was decided in them, and the units that were in them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

import registry.adapters.rows  # noqa: F401 - foreign keys
from registry.tables import Base, BigId, partial_index


class Experiment(Base):
    """An experiment. What of it routes now is the split that runs and has its id."""

    __tablename__ = "experiments"
    __table_args__ = (UniqueConstraint("adapter_id", "name"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"))
    alias: Mapped[str] = mapped_column(String(63))
    name: Mapped[str] = mapped_column(String(63))
    state: Mapped[str] = mapped_column(String(20), index=True)
    plan: Mapped[dict[str, Any]]
    """`registry.experiments.plan`; frozen."""
    salt: Mapped[str] = mapped_column(String(64))
    """Of all of its splits."""
    step: Mapped[int] = mapped_column(Integer)
    """Of the ramp, from 0; -1 before its first."""
    stepped_at_ms: Mapped[int | None]
    """When this step began."""
    decisions: Mapped[int] = mapped_column(Integer)
    """How many there are: its etag, and the number of the last one."""
    swap_id: Mapped[int | None]
    """The last swap that a decision of it has asked for."""
    standing: Mapped[dict[str, Any] | None]
    """Where the analysis is and what it has found so far; its own."""
    standing_at_ms: Mapped[int | None]
    actor: Mapped[str] = mapped_column(String(100))
    created_at_ms: Mapped[int]
    started_at_ms: Mapped[int | None]
    ended_at_ms: Mapped[int | None]


class ExperimentDecision(Base):
    """One line of the log. Append-only: triggers refuse UPDATE and DELETE."""

    __tablename__ = "experiment_decisions"
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id"), primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """From 1, without a gap."""
    at_ms: Mapped[int]
    kind: Mapped[str] = mapped_column(String(20))
    from_state: Mapped[str] = mapped_column(String(20))
    to_state: Mapped[str] = mapped_column(String(20))
    """With a swap: the state from its flip on."""
    document: Mapped[str] = mapped_column(Text)
    """Canonical JSON of the whole decision; the columns above are parts of it. Its SHA-256 is `digest`."""
    swap_id: Mapped[int | None]
    """What carries it out; `None`: nothing had to be moved."""
    digest: Mapped[str] = mapped_column(String(80))
    """Of `document`, in which the digest of the decision before it is."""


class ExperimentUnit(Base):
    """A unit that was in an experiment: exposed once, valued once when it is mature."""

    __tablename__ = "experiment_units"
    __table_args__ = (
        Index("ix_experiment_units_served", "experiment_id", "first_served_at_ms", "unit_hash"),
        partial_index(
            "ix_experiment_units_unfolded",
            *("experiment_id", "first_served_at_ms", "unit_hash"),
            while_null="folded_seq",
        ),
    )
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id"), primary_key=True, autoincrement=False)
    unit_hash: Mapped[str] = mapped_column(String(32), primary_key=True)
    arm: Mapped[str] = mapped_column(String(20))
    """That it was assigned, when it was first served."""
    propensity: Mapped[float] = mapped_column(Float)
    """Of that arm, then."""
    unit_source: Mapped[str] = mapped_column(String(40))
    first_served_at_ms: Mapped[int]
    split_id: Mapped[int] = mapped_column(BigInteger)
    """By whose weights it was assigned."""
    served_arm: Mapped[str] = mapped_column(String(20))
    """What answered; another arm than `arm` is a fallback."""
    exposed_seq: Mapped[int] = mapped_column(Integer)
    """Its place in the order in which units were seen to meet their arms, from 1; so are the others."""
    failed_seq: Mapped[int | None] = mapped_column(Integer)
    """In the order of first failures; NULL: none failed it. The next two say which arm did, and by which split."""
    failed_arm: Mapped[str | None] = mapped_column(String(20))
    failed_split_id: Mapped[int | None] = mapped_column(BigInteger)
    folded_seq: Mapped[int | None] = mapped_column(Integer)
    """In the order in which units were valued; NULL until it is mature."""
    metrics: Mapped[dict[str, Any] | None]
    """Metric → its value; NULL until the unit is mature."""
    valued_at_ms: Mapped[int | None]
    censored_at_ms: Mapped[int | None]
    """When it was moved to another arm: what it did from then on counts for none."""
    judged_seq: Mapped[int | None] = mapped_column(Integer)
    """In the order in which judges' verdicts were taken in; NULL: none on an answer of it, or none counts."""
    judged: Mapped[str | None] = mapped_column(String(24))
    """Whom the judge preferred with the candidate's answer first, and with the control's: two words."""


FEED = Table(
    "experiment_feed",
    Base.metadata,
    Column("id", BigId, primary_key=True),
    Column("experiment_id", BigInteger, nullable=False),
    Column("attempt_id", String(64), nullable=False),
    Column("unit_hash", String(32)),
    partial_index("ix_experiment_feed_waiting", "experiment_id", "id", while_null="unit_hash"),
    Index("ix_experiment_feed_taken", "experiment_id", "unit_hash", sqlite_where=text("unit_hash IS NOT NULL")),
)
"""Attempts of experiments until their units are valued (`registry.experiments.feed`); a trigger of `usage` adds them.
`unit_hash` is NULL until they are taken in.
"""
