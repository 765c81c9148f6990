"""What moves an alias or a split."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

import registry.adapters.rows  # noqa: F401 - foreign keys
from registry.tables import Base, BigId, one_at_a_time


class Swap(Base):
    """One promote, rollback or ramp: asked for by a row, executed by the fleet's controller, followed by the CLI.

    One row may be unfinished (`finished_at_ms` NULL) an alias.
    """

    __tablename__ = "swaps"
    __table_args__ = (one_at_a_time("uq_swaps_running", "finished_at_ms", "adapter_id", "alias"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), index=True)
    alias: Mapped[str] = mapped_column(String(63))
    expected_etag: Mapped[int]
    """The alias's etag when the swap was asked for; 0 when the alias did not exist."""
    to_version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"))
    """What the alias points at afterwards; a ramp does not move it."""
    state: Mapped[str] = mapped_column(String(20), index=True)
    detail: Mapped[dict[str, Any]]
    """What each step has found. A ramp has `arms`: `[{"version", "version_id", "weight"}, …]`, in 1/10,000."""
    actor: Mapped[str] = mapped_column(String(100))
    reason: Mapped[str] = mapped_column(String(1000))
    requested_at_ms: Mapped[int]
    finished_at_ms: Mapped[int | None]
