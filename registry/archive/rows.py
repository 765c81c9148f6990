"""Which attempts are in files, and which are on their way out of the table."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column, Integer, String, Table
from sqlalchemy.orm import Mapped, mapped_column

from registry.tables import Base


class UsageArchive(Base):
    """A file of attempts. A trigger lets nothing of it change but whether it was brought back."""

    __tablename__ = "usage_archives"
    name: Mapped[str] = mapped_column(String(120), primary_key=True)
    """In the object storage."""
    day: Mapped[int] = mapped_column(Integer, index=True)
    """UTC day since the epoch, on which its attempts began."""
    digest: Mapped[str] = mapped_column(String(80))
    size_bytes: Mapped[int]
    attempts: Mapped[int]
    corrections: Mapped[int]
    first_ms: Mapped[int]
    """Begin of its first attempt."""
    last_ms: Mapped[int]
    """Begin of its last one."""
    ended_ms: Mapped[int]
    """The latest end, or begin where no end is known."""
    sums: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """Rows of `usage_days` that its attempts and corrections come to."""
    segments: Mapped[dict[str, list[Any]]] = mapped_column(JSON)
    """Of each journal segment: attempts, tokens by kind, and the digest of the rows. Under `""`: attempts of tenants
    that came by no journal."""
    archived_at_ms: Mapped[int]
    restored_at_ms: Mapped[int | None]
    """When its attempts were brought back to the table; NULL: they are in the file alone."""


LEAVING = Table(
    "usage_leaving",
    Base.metadata,
    Column("attempt_id", String(64), primary_key=True),
)
"""Attempts that the triggers let go: filled and emptied in the transaction that records their file."""
