"""Parts in the database: room for one, what an owner has, and what is removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from registry.db import Database, now_ms
from registry.errors import RegistryError
from registry.ids import new_file_id
from registry.tenant_files.pieces import Pieces, most_pieces
from registry.tenant_files.rows import FilePart, TenantFile, Upload
from registry.tenants.store import require_tenant

STEP_BYTES = 64 << 20
"""Room for so much more is taken at once, if it is there, where nobody said how long a part will be."""
MOST_BYTES = 512 << 20
"""Of one file that comes in one request, where nothing else is said: OpenAI's bound."""
BESIDE_BYTES = 512 << 10
"""Of what is expected this may be the form around a file."""
PENDING = "pending"
FILE_PREFIX, UPLOAD_PREFIX, PART_PREFIX = "file-", "upload_", "part_"
"""Of ids."""
REMOVED_AT_ONCE = 100
"""Parts whose rows one transaction deletes."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The most that a tenant may have, bytes and files; `None`: as much as there is room for."""

    bytes: int | None = None
    files: int | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of what comes."""

    most_bytes: int = MOST_BYTES
    """Of one part."""
    within_s: float = 7_200.0
    """What has not come by then is removed."""
    allowance: Allowance = Allowance()


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

    def begin(self, tenant: str, owner: str, bounds: Bounds, expected: int | None) -> FilePart:
        """A new part with room for the bytes that are expected, or for some. Raises `NoRoom`, `NotFound` without the
        tenant.
        """
        at_ms = now_ms()
        part = FilePart(
            id=new_file_id(PART_PREFIX),
            tenant=tenant,
            owner=owner,
            position=0,
            created_at_ms=at_ms,
            pieces=None,
            removable_from_ms=at_ms + int(bounds.within_s * 1_000),
        )
        with self.db.write() as session:
            require_tenant(session, tenant, lock=True)
            require_files(session, tenant, bounds.allowance)
            least = max(1, (expected or 0) - BESIDE_BYTES)
            part.bytes = require_bytes(session, tenant, bounds.allowance, least, expected or STEP_BYTES)
            session.add(part)
        return part

    def extend(self, part: FilePart, allowance: Allowance, least: int) -> None:
        """Room for more bytes of a part that is under way. Raises `NoRoom`."""
        with self.db.write() as session:
            require_tenant(session, part.tenant, lock=True)
            part.bytes += require_bytes(session, part.tenant, allowance, least, max(least, STEP_BYTES))
            session.execute(update(FilePart).where(FilePart.id == part.id).values(bytes=part.bytes))

    def remove(self, parts: Sequence[FilePart]) -> None:
        """Remove their pieces, then their rows. Raises `StorageFailed`."""
        for begin in range(0, len(parts), REMOVED_AT_ONCE):
            some = parts[begin : begin + REMOVED_AT_ONCE]
            for part in some:
                self.pieces.remove(part.id, most_pieces(part.bytes) if part.pieces is None else part.pieces)
            with self.db.write() as session:
                session.execute(delete(FilePart).where(FilePart.id.in_([part.id for part in some])))

    def read(self, parts: Sequence[FilePart]) -> Iterator[bytes]:
        """Their bytes, a piece at a time. Raises `CorruptBlob`, `StorageFailed`."""
        for part in parts:
            for number in range(part.pieces or 0):
                yield self.pieces.read(part.tenant, part.id, number)

    def removable(self, most: int) -> list[FilePart]:
        """Those that nobody needs now, the oldest first."""
        query = select(FilePart).where(FilePart.removable_from_ms <= now_ms())
        with self.db.read() as session:
            return list(session.scalars(query.order_by(FilePart.removable_from_ms).limit(most)))


def parts_of(session: Session, owner: str) -> list[FilePart]:
    """In their order."""
    return list(session.scalars(select(FilePart).where(FilePart.owner == owner).order_by(FilePart.position)))


def give_up(session: Session, owners: Sequence[str]) -> None:
    """Nobody needs the parts of these any more: the sweep removes them, unless that is done before."""
    session.execute(update(FilePart).where(FilePart.owner.in_(owners)).values(removable_from_ms=now_ms()))


def require_files(session: Session, tenant: str, allowance: Allowance) -> None:
    """Raise `NoRoom` unless there may be another file. What is under way counts."""
    if allowance.files is None:
        return
    counts = (
        select(func.count()).where(TenantFile.tenant == tenant),
        select(func.count()).where(
            FilePart.tenant == tenant, FilePart.pieces.is_(None), FilePart.owner.startswith(FILE_PREFIX)
        ),
        select(func.count()).where(Upload.tenant == tenant, Upload.status == PENDING, Upload.expires_at_ms > now_ms()),
    )
    files = sum(session.scalars(count).one() for count in counts)
    if files >= allowance.files:
        raise NoRoom("files", files, allowance.files)


def require_bytes(session: Session, tenant: str, allowance: Allowance, least: int, most: int) -> int:
    """How many bytes more there may be, of `most` that are asked for. Raise `NoRoom` when it is not the `least`."""
    if allowance.bytes is None:
        return most
    used = int(session.scalar(select(func.sum(FilePart.bytes)).where(FilePart.tenant == tenant)) or 0)
    if used + least > allowance.bytes:
        raise NoRoom("bytes", used, allowance.bytes, least)
    return min(most, allowance.bytes - used)
