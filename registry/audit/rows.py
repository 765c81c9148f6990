"""Lines of the audit log."""

from __future__ import annotations

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from registry.tables import Base


class AuditLine(Base):
    """Append-only (by triggers): one thing that is known of an order."""

    __tablename__ = "audit_lines"
    __table_args__ = (Index("ix_audit_lines_tenant", "tenant", "seq"), Index("ix_audit_lines_object", "object", "seq"))
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at_ms: Mapped[int]
    order_seq: Mapped[int] = mapped_column(index=True)
    """The order's first line, which has its own `seq` there."""
    kind: Mapped[str] = mapped_column(String(10))
    """order, change or end."""
    actor: Mapped[str] = mapped_column(String(100), index=True)
    tenant: Mapped[str | None] = mapped_column(String(63))
    object: Mapped[str] = mapped_column(String(320))
    document: Mapped[str] = mapped_column(Text)
    """Canonical JSON of all that the line says, the columns before and the digest of the line before too."""
    digest: Mapped[str] = mapped_column(String(80))
    """Of the document."""
