"""Calibrations of baselines."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

import registry.tenants.rows  # noqa: F401 - foreign keys
from registry.tables import Base, BigId


class Calibration(Base):
    """What one calibration came to; the newest of a tenant and baseline counts. Triggers refuse UPDATE and DELETE."""

    __tablename__ = "calibrations"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"), index=True)
    baseline: Mapped[str] = mapped_column(String(200))
    own_model: Mapped[str] = mapped_column(String(200))
    """The version that was asked here."""
    asked_model: Mapped[str] = mapped_column(String(200))
    """What the API was asked for."""
    asked_at: Mapped[str] = mapped_column(String(500))
    """Its address."""
    prompts: Mapped[str] = mapped_column(String(500))
    """Name and digest of the file of prompts, or which live traffic."""
    pairs: Mapped[int]
    ratios: Mapped[dict[str, Any]]
    """`prompt` and `completion`: three decimal numbers in text, the ratio and the ends of its interval."""
    spent_nano: Mapped[int]
    """On the API, at its list price."""
    stopped: Mapped[str] = mapped_column(String(20))
    """`tight`, `budget`, `prompts` or `shadow`: what ended it."""
    actor: Mapped[str] = mapped_column(String(100))
    made_at_ms: Mapped[int]
    seq: Mapped[int] = mapped_column(unique=True)
    """Its line of the price log: reports by a version before that do not know of it."""
