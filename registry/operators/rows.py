"""Keys of operators."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from registry.tables import Base


class OperatorKey(Base):
    """A key of a person or program that operates the installation; only its SHA-256 is stored."""

    __tablename__ = "operator_keys"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), index=True)
    """Whose it is. One name may have several keys, so that one can take the place of another."""
    role: Mapped[str] = mapped_column(String(20))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    shown: Mapped[str] = mapped_column(String(32))
    """First and last characters, for people to tell keys apart."""
    made_by: Mapped[str] = mapped_column(String(100))
    created_at_ms: Mapped[int]
    expires_at_ms: Mapped[int | None]
    """From then on it opens nothing; `NULL`: it has no end."""
    revoked_at_ms: Mapped[int | None]
