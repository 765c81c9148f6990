"""Tenants' files, uploads that become one, and the parts that both are made of."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

import registry.tenants.rows  # noqa: F401 - foreign keys
from registry.tables import Base

ID_CHARS = 40
"""The most that an id of a file or of a part has."""


class TenantFile(Base):
    """One file that is whole. Its id means something only together with its tenant."""

    __tablename__ = "tenant_files"
    __table_args__ = (
        Index("ix_tenant_files_tenant_created", "tenant", "created_at_ms", "id"),
        Index("ix_tenant_files_expires", "expires_at_ms"),
    )
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    created_at_ms: Mapped[int]
    expires_at_ms: Mapped[int | None]
    """From then on it is not there any more; `NULL`: it stays until somebody deletes it."""
    purpose: Mapped[str] = mapped_column(String(40))
    about: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed: its name, and the digest of its bytes."""
    bytes: Mapped[int]


class Upload(Base):
    """A file that comes in several parts."""

    __tablename__ = "tenant_uploads"
    __table_args__ = (Index("ix_tenant_uploads_expires", "expires_at_ms"),)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    created_at_ms: Mapped[int]
    expires_at_ms: Mapped[int]
    """From then on it takes no parts and cannot be completed."""
    status: Mapped[str] = mapped_column(String(20))
    """`pending`, `completed` or `cancelled`; one that is pending and has expired is `expired`."""
    purpose: Mapped[str] = mapped_column(String(40))
    about: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed: the name of the file, and the digest of the order in which its parts were put together."""
    bytes: Mapped[int]
    """That the file will have."""
    file_expires_after_s: Mapped[int | None]
    file_id: Mapped[str | None] = mapped_column(String(ID_CHARS))
    """What it became; the file may be gone."""


class FilePart(Base):
    """Bytes in the blob store. It has no foreign key: it outlives its owner until its pieces are removed."""

    __tablename__ = "tenant_file_parts"
    __table_args__ = (
        Index("ix_tenant_file_parts_owner", "owner", "position"),
        Index("ix_tenant_file_parts_tenant", "tenant", "bytes"),
        Index("ix_tenant_file_parts_removable", "removable_from_ms"),
    )
    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(63))
    owner: Mapped[str] = mapped_column(String(ID_CHARS))
    """The file or the upload that it is of, or will be."""
    position: Mapped[int]
    """Of it among the parts of its owner."""
    created_at_ms: Mapped[int]
    bytes: Mapped[int]
    """While it is under way: for how many there is room, at least as many as lie there."""
    pieces: Mapped[int | None]
    """How many there are; `NULL` while it is under way."""
    removable_from_ms: Mapped[int | None]
    """From then on the sweep removes it; `NULL`: a file needs it."""
