"""Parts in the database: room for one, what an owner has, and what is removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from secrets import token_hex

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from registry.db import Database, now_ms
from registry.errors import RegistryError
from registry.tenant_files.pieces import Pieces, most_pieces
from registry.tenant_files.rows import FilePart, TenantFile
from registry.tenants.store import require_tenant

STEP_BYTES = 64 << 20
"""Room for so much more is asked for at once where nobody said how long a part will be."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The most that a tenant may have, bytes and files; `None`: as much as there is room for."""

    bytes: int | None = None
    files: int | None = None


class NoRoom(RegistryError):
    """A tenant has as much as it may have."""

    def __init__(self, what: str, used: int, most: int, asked: int = 1) -> None:
        super().__init__(f"the tenant's files have {used} {what} of {most}, and {asked} more do not fit")
        self.what, self.used, self.most, self.asked = what, used, most, asked


class Parts:
    """Parts of all tenants."""

    def __init__(self, db: Database, pieces: Pieces) -> None:
        self.db = db
        self.pieces = pieces

    def begin(self, tenant: str, owner: str, position: int, allowance: Allowance, expected: int) -> str:
        """The id of a new part with room for `expected` bytes. Raises `NoRoom`, `NotFound` without the tenant."""
        id_ = f"part_{token_hex(12)}"
        with self.db.write() as session:
            require_tenant(session, tenant, lock=True)
            require_room(session, tenant, allowance, expected)
            session.add(
                FilePart(
                    id=id_,
                    tenant=tenant,
                    owner=owner,
                    position=position,
                    created_at_ms=now_ms(),
                    bytes=expected,
                    pieces=None,
                )
            )
        return id_

    def extend(self, tenant: str, part_id: str, allowance: Allowance) -> int:
        """Room for more bytes; how many more. Raises `NoRoom`."""
        with self.db.write() as session:
            require_tenant(session, tenant, lock=True)
            _require_bytes(session, tenant, allowance, STEP_BYTES)
            session.execute(update(FilePart).where(FilePart.id == part_id).values(bytes=FilePart.bytes + STEP_BYTES))
        return STEP_BYTES

    def remove(self, parts: Sequence[FilePart]) -> None:
        """Remove their pieces, then their rows. Raises `StorageFailed`."""
        for part in parts:
            self.pieces.remove(part.id, most_pieces(part.bytes) if part.pieces is None else part.pieces)
        with self.db.write() as session:
            session.execute(delete(FilePart).where(FilePart.id.in_([part.id for part in parts])))

    def read(self, parts: Sequence[FilePart]) -> Iterator[bytes]:
        """Their bytes, a piece at a time. Raises `CorruptBlob`, `StorageFailed`."""
        for part in parts:
            for number in range(part.pieces or 0):
                yield self.pieces.read(part.tenant, part.id, number)


def parts_of(session: Session, owner: str) -> list[FilePart]:
    """In their order."""
    return list(session.scalars(select(FilePart).where(FilePart.owner == owner).order_by(FilePart.position)))


def require_room(session: Session, tenant: str, allowance: Allowance, asked: int) -> None:
    """Raise `NoRoom` unless another file of so many bytes may be there."""
    if allowance.files is not None:
        files = session.scalar(select(func.count()).where(TenantFile.tenant == tenant)) or 0
        under_way = select(func.count()).where(FilePart.tenant == tenant, FilePart.pieces.is_(None))
        files += session.scalar(under_way) or 0
        if files >= allowance.files:
            raise NoRoom("files", files, allowance.files)
    _require_bytes(session, tenant, allowance, asked)


def _require_bytes(session: Session, tenant: str, allowance: Allowance, asked: int) -> None:
    if allowance.bytes is None:
        return
    used = int(session.scalar(select(func.sum(FilePart.bytes)).where(FilePart.tenant == tenant)) or 0)
    if used + asked > allowance.bytes:
        raise NoRoom("bytes", used, allowance.bytes, asked)
