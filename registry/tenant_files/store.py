"""Tenants' files. Every question names tenant and id together, so another tenant's id is none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import ColumnElement, delete, func, or_, select, tuple_, update
from sqlalchemy.orm import Session

from registry.db import Database, now_ms
from registry.errors import CorruptBlob, InvalidInput
from registry.ids import can_be_file_id, new_file_id
from registry.responses.sealing import Keyring
from registry.storage.blobs import BlobStore
from registry.tenant_files.draft import PartDraft
from registry.tenant_files.infos import (
    COLUMNS,
    FileInfo,
    FileInUse,
    NoSuchFile,
    checked_filename,
    checked_purpose,
    file_made_now,
    info_of,
    row_of,
)
from registry.tenant_files.parts import FILE_PREFIX, Bounds, Parts, give_up, parts_of
from registry.tenant_files.pieces import Pieces
from registry.tenant_files.resealing import FileReseal
from registry.tenant_files.rows import FilePart, TenantFile
from registry.tenant_files.sweeping import FileSweep
from registry.tenant_files.uploads import Uploads
from registry.tenants.actions import record_action
from registry.tenants.store import require_tenant

OURS = Bounds(most_bytes=1 << 62)
"""Of files that the installation itself writes."""
MOST_LISTED = 1_000
"""Files of one page: to open their names takes milliseconds, in which others wait for the interpreter."""
_ROW = TenantFile


@dataclass(frozen=True, slots=True)
class FilePage:
    """Some files in order, and whether there are more behind them."""

    files: list[FileInfo]
    has_more: bool


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """How much there is of one tenant."""

    tenant: str
    files: int
    bytes: int
    """Before they are compressed."""
    oldest_ms: int


class TenantFiles:
    """The files of all tenants. For any number of threads."""

    def __init__(
        self, db: Database, blobs: BlobStore, keyring: Keyring, needed_by: Callable[[str, str], list[str]]
    ) -> None:
        """`needed_by`: the jobs of a tenant that need a file and have not ended."""
        parts = Parts(db, Pieces(blobs, keyring))
        self.uploads = Uploads(db, parts, keyring)
        self.sweeping = FileSweep(db, parts, blobs, needed_by)
        self.resealing = FileReseal(db, parts, keyring)
        self._db = db
        self.parts = parts
        self._keyring = keyring
        self._needed_by = needed_by

    # Writing

    def begin(self, tenant: str, bounds: Bounds = OURS, expected: int | None = None) -> PartDraft:
        """Begin a file: write to the draft, then `keep` or drop it. `expected`: about how many bytes will come.

        Raises `NoRoom`, `NotFound` without the tenant.
        """
        return PartDraft(self.parts, tenant, new_file_id(FILE_PREFIX), bounds, expected)

    def keep(self, draft: PartDraft, filename: str, purpose: str, expires_after_s: int | None = None) -> FileInfo:
        """Make a file of what was written. Raises `InvalidInput` for a bad name, purpose or an empty file."""
        filename, purpose = checked_filename(filename), checked_purpose(purpose)
        if not draft.bytes:
            raise InvalidInput(f"file is empty: {filename!r} has no bytes", param="file")
        digest = draft.close()
        info = file_made_now(draft.owner, draft.tenant, filename, purpose, draft.bytes, digest, expires_after_s)
        with self._db.write() as session:
            require_tenant(session, draft.tenant)
            session.add(row_of(self._keyring, info))
            whole = {"bytes": draft.bytes, "pieces": draft.pieces, "removable_from_ms": None}
            session.execute(update(FilePart).where(FilePart.id == draft.id).values(whole))
        draft.kept()
        return info

    def create(
        self, tenant: str, filename: str, purpose: str, content: Iterable[bytes], expires_after_s: int | None = None
    ) -> FileInfo:
        """Store a file whose bytes are at hand, of any length: nobody's allowance is asked. Raises as `keep`."""
        draft = self.begin(tenant)
        try:
            for some in content:
                draft.write(some)
            return self.keep(draft, filename, purpose, expires_after_s)
        finally:
            draft.drop()

    def delete(self, tenant: str, id_: str, *, operator: str | None = None) -> None:
        """Delete a file with its bytes; `operator` is who does that for the tenant. Raises `NoSuchFile`, `FileInUse`;
        `StorageFailed`: the file is gone, and the sweep removes its bytes.
        """
        if not can_be_file_id(id_):
            raise NoSuchFile(id_)
        if jobs := self._needed_by(tenant, id_):
            raise FileInUse(id_, jobs)
        with self._db.write() as session:
            of = (_ROW.tenant == tenant, _ROW.id == id_, _live())
            if session.execute(delete(_ROW).where(*of).returning(_ROW.id)).first() is None:
                raise NoSuchFile(id_)
            if operator is not None:
                record_action(session, operator, "file.deleted", tenant, id_)
            give_up(session, [id_])
            parts = parts_of(session, id_)
        self.parts.remove(parts)

    # Reading

    def get(self, tenant: str, id_: str) -> FileInfo:
        """One file. Raises `NoSuchFile`, `Unreadable`."""
        with self._db.read() as session:
            return info_of(self._keyring, _require(session, tenant, id_))

    def page(
        self, tenant: str, after: str | None, limit: int, order: Literal["asc", "desc"] = "desc", purpose: str = ""
    ) -> FilePage:
        """Files by age that come after the file `after`, at most `MOST_LISTED`; of one purpose if it is said. Raises
        `NoSuchFile` for `after`, `Unreadable`.
        """
        limit = min(limit, MOST_LISTED)
        key = tuple_(_ROW.created_at_ms, _ROW.id)
        query = select(*COLUMNS).where(_ROW.tenant == tenant, _live()).limit(limit + 1)
        query = query.order_by(*(one.asc() if order == "asc" else one.desc() for one in (_ROW.created_at_ms, _ROW.id)))
        if purpose:
            query = query.where(_ROW.purpose == purpose)
        with self._db.read() as session:
            if after is not None:
                last = _require(session, tenant, after)
                at = (last.created_at_ms, last.id)
                query = query.where(key > at if order == "asc" else key < at)
            rows = session.execute(query).all()
        return FilePage([info_of(self._keyring, row) for row in rows[:limit]], len(rows) > limit)

    def kept(self, tenant: str | None = None) -> list[KeptFiles]:
        """How much there is of each tenant, or of one, by name."""
        row = _ROW
        query = select(row.tenant, func.count(), func.sum(row.bytes), func.min(row.created_at_ms)).where(_live())
        query = query.group_by(row.tenant).order_by(row.tenant)
        if tenant is not None:
            query = query.where(row.tenant == tenant)
        with self._db.read() as session:
            return [KeptFiles(name, files, int(size), oldest) for name, files, size, oldest in session.execute(query)]

    def content(self, tenant: str, id_: str) -> Iterator[bytes]:
        """The bytes of a file, some megabytes at a time; the last ones only when all are what was written.

        Raises `NoSuchFile` at once, `CorruptBlob` and `StorageFailed` on the way.
        """
        with self._db.read() as session:
            row = _require(session, tenant, id_)
            return self._verified(info_of(self._keyring, row), parts_of(session, id_))

    def copy_for_job(self, tenant: str, id_: str, target: Path) -> FileInfo:
        """Write the bytes of a file, also of one that has expired since the job was ordered, to a new file on this
        machine. Raises as `content`, and `OSError`.
        """
        with self._db.read() as session:
            row = _require(session, tenant, id_, expired=True)
            info, parts = info_of(self._keyring, row), parts_of(session, id_)
        with target.open("xb") as file:
            for some in self._verified(info, parts):
                file.write(some)
        return info

    def _verified(self, info: FileInfo, parts: Sequence[FilePart]) -> Iterator[bytes]:
        found = hashlib.sha256()
        held = b""
        for piece in self.parts.read(parts):
            found.update(piece)
            if held:
                yield held
            held = piece
        if f"sha256:{found.hexdigest()}" != info.digest:
            raise CorruptBlob(f"file {info.id} is not what was written; restore it from a backup, or delete it")
        yield held


def _require(session: Session, tenant: str, id_: str, *, expired: bool = False) -> TenantFile:
    if not can_be_file_id(id_):
        raise NoSuchFile(id_)
    query = select(_ROW).where(_ROW.tenant == tenant, _ROW.id == id_)
    row = session.scalars(query if expired else query.where(_live())).first()
    if row is None:
        raise NoSuchFile(id_)
    return row


def _live() -> ColumnElement[bool]:
    """Those that have not expired."""
    return or_(_ROW.expires_at_ms.is_(None), _ROW.expires_at_ms > now_ms())
