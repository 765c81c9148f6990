"""Votes on pairs of answers."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

import registry.tenants.rows  # noqa: F401 - foreign keys
from registry.tables import Base


class PairVote(Base):
    """What one person says of one pair."""

    __tablename__ = "pair_votes"
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name", ondelete="CASCADE"), primary_key=True)
    comparison: Mapped[str] = mapped_column(String(64), primary_key=True)
    pair: Mapped[str] = mapped_column(String(64), primary_key=True)
    voter: Mapped[str] = mapped_column(String(100), primary_key=True)
    winner: Mapped[str] = mapped_column(String(3))
    """`a`, `b` or `tie`."""
    left_side: Mapped[str] = mapped_column(String(1))
    """Whose answer stood on the left: `a` or `b`."""
    at_ms: Mapped[int]
