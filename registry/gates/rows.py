"""Gates and certificates."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

import registry.adapters.rows  # noqa: F401 - foreign keys
from registry.tables import Base, BigId


class Gate(Base):
    """What must have been shown of a version before the alias may point at it."""

    __tablename__ = "gates"
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(63), primary_key=True)
    digest: Mapped[str] = mapped_column(String(80))
    document: Mapped[dict[str, Any]]
    """`registry.gates.policy.Policy`; `digest` is of its canonical form."""
    actor: Mapped[str] = mapped_column(String(100))
    set_at_ms: Mapped[int]


class Certificate(Base):
    """One evaluation, as it was written down; triggers refuse UPDATE and DELETE."""

    __tablename__ = "certificates"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    digest: Mapped[str] = mapped_column(String(80), unique=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"))
    candidate_digest: Mapped[str] = mapped_column(String(80), index=True)
    incumbent_digest: Mapped[str | None] = mapped_column(String(80))
    """NULL: it was compared with its base."""
    gate_digest: Mapped[str | None] = mapped_column(String(80))
    """NULL: no gate was set, so nothing was to be passed."""
    verdict: Mapped[str] = mapped_column(String(20))
    document: Mapped[str] = mapped_column(Text)
    """Canonical JSON; `digest` is of these very bytes."""
    actor: Mapped[str] = mapped_column(String(100))
    made_at_ms: Mapped[int]
