"""Splits, and how their traffic is spread."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

import registry.adapters.rows  # noqa: F401 - foreign keys
from registry.tables import Base, BigId, one_at_a_time

BASE = "base"
"""As an arm: the base model of the version that the alias points at, without an adapter."""
BASE_ARM = 0
"""The same in place of a version's id: no version has this one."""


class Split(Base):
    """A sticky weighted split of one alias's traffic. One row may be active (`ended_at_ms` NULL) an alias."""

    __tablename__ = "splits"
    __table_args__ = (one_at_a_time("uq_splits_running", "ended_at_ms", "adapter_id", "alias"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), index=True)
    alias: Mapped[str] = mapped_column(String(63))
    salt: Mapped[str] = mapped_column(String(64))
    arms: Mapped[list[Any]]
    """`[[version id or `BASE_ARM`, weight in 1/10000], …]` in a fixed order; weights sum to 10,000."""
    ranges: Mapped[list[Any] | None]
    """`[[until, version id], …]`: whose the buckets are (`registry.splits.ranges`). NULL: one range an arm."""
    started_at_ms: Mapped[int]
    ended_at_ms: Mapped[int | None]
    experiment_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    """Whose policy decides on it; NULL: nobody's, it is as a person has set it."""


class SplitUnits(Base):
    """How a worker saw a split's traffic spread over units (`registry.splits.skews`)."""

    __tablename__ = "split_units"
    split_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    worker: Mapped[str] = mapped_column(String(120), primary_key=True)
    source: Mapped[str] = mapped_column(String(40))
    requests: Mapped[int]
    of_one_unit: Mapped[int]
    noted_at_ms: Mapped[int]
