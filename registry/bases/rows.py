"""Base models."""

from __future__ import annotations

from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from registry.tables import Base


class BaseModel(Base):
    """A base model by canonical digest."""

    __tablename__ = "base_models"
    digest: Mapped[str] = mapped_column(String(80), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    spec: Mapped[dict[str, Any]]
    created_at_ms: Mapped[int]
