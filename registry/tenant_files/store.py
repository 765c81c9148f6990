"""Tenants' files. Every question names tenant and id together, so another tenant's id is none."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Literal

import orjson
from sqlalchemy import ColumnElement, delete, or_, select, tuple_, update
from sqlalchemy.orm import Session

from registry.db import Database, now_ms
from registry.errors import CorruptBlob, InvalidInput, RegistryError
from registry.responses.sealing import Keyring
from registry.storage.blobs import BlobStore
from registry.tenant_files.draft import Draft
from registry.tenant_files.parts import Allowance, Parts, parts_of
from registry.tenant_files.pieces import Pieces
from registry.tenant_files.rows import FilePart, TenantFile
from registry.tenants.store import require_tenant

FINE_TUNE, RESULTS = "fine-tune", "fine-tune-results"
PURPOSES = (FINE_TUNE, "user_data", "evals", RESULTS)
"""What files here are for; results are written by the trainer alone."""
MOST_FILENAME_CHARS = 255
MOST_BYTES = 512 << 20
"""Of one file, where nothing else is said: OpenAI's bound."""
ABOUT = "about"
"""The place of a file's own sealed value, behind its id."""
UNBOUNDED = Allowance()
_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_ROW = TenantFile


class NoSuchFile(RegistryError):
    """A file is not there: deleted, expired, never there, or another tenant's."""

    def __init__(self, id_: str) -> None:
        super().__init__(f"there is no file {id_[:80]!r}", param="file_id")
        self.id = id_


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file without its bytes."""

    id: str
    tenant: str
    filename: str
    purpose: str
    bytes: int
    digest: str
    """`sha256:<hex>` of its bytes."""
    created_at_ms: int
    expires_at_ms: int | None
    """From then on it is not there any more."""


@dataclass(frozen=True, slots=True)
class FilePage:
    """Some files in order, and whether there are more behind them."""

    files: list[FileInfo]
    has_more: bool


class TenantFiles:
    """The files of all tenants. For any number of threads."""

    def __init__(self, db: Database, blobs: BlobStore, keyring: Keyring) -> None:
        self._db = db
        self._keyring = keyring
        self._parts = Parts(db, Pieces(blobs, keyring))

    # Writing

    def begin(
        self,
        tenant: str,
        *,
        most_bytes: int = MOST_BYTES,
        allowance: Allowance = UNBOUNDED,
        expected: int | None = None,
    ) -> Draft:
        """Begin a file: write to the draft, then `keep` or drop it. `expected`: about how many bytes will come.

        Raises `NoRoom`, `NotFound` without the tenant.
        """
        owner = f"file-{token_hex(12)}"
        return Draft(self._parts, tenant, owner, most_bytes=most_bytes, allowance=allowance, expected=expected)

    def keep(self, draft: Draft, filename: str, purpose: str, expires_after_s: int | None = None) -> FileInfo:
        """Make a file of what was written. Raises `InvalidInput` for a bad name, purpose or an empty file."""
        filename = checked_filename(filename)
        if purpose not in PURPOSES:
            raise InvalidInput(f"purpose is {purpose[:40]!r}; choose from {', '.join(PURPOSES)}", param="purpose")
        if not draft.bytes:
            raise InvalidInput(f"file is empty: {filename!r} has no bytes", param="file")
        digest, at_ms = draft.close(), now_ms()
        info = FileInfo(
            draft.owner,
            draft.tenant,
            filename,
            purpose,
            draft.bytes,
            digest,
            at_ms,
            None if expires_after_s is None else at_ms + expires_after_s * 1_000,
        )
        with self._db.write() as session:
            require_tenant(session, draft.tenant)
            session.add(self._row(info))
            session.execute(
                update(FilePart).where(FilePart.id == draft.id).values(bytes=draft.bytes, pieces=draft.pieces)
            )
        draft.kept()
        return info

    def create(
        self, tenant: str, filename: str, purpose: str, content: Iterable[bytes], expires_after_s: int | None = None
    ) -> FileInfo:
        """Store a file whose bytes are at hand, of any length: nobody's allowance is asked. Raises as `keep`."""
        draft = self.begin(tenant, most_bytes=1 << 62)
        try:
            for some in content:
                draft.write(some)
            return self.keep(draft, filename, purpose, expires_after_s)
        finally:
            draft.drop()

    def delete(self, tenant: str, id_: str) -> None:
        """Delete a file with its bytes. Raises `NoSuchFile`; `StorageFailed`: the file is gone, and the sweep removes
        its bytes.
        """
        of = (_ROW.tenant == tenant, _ROW.id == _possible(id_), _live())
        with self._db.write() as session:
            if session.execute(delete(_ROW).where(*of).returning(_ROW.id)).first() is None:
                raise NoSuchFile(id_)
            parts = parts_of(session, id_)
        self._parts.remove(parts)

    # Reading

    def get(self, tenant: str, id_: str) -> FileInfo:
        """One file. Raises `NoSuchFile`, `Unreadable`."""
        with self._db.read() as session:
            return self._info(self._require(session, tenant, id_))

    def page(
        self, tenant: str, after: str | None, limit: int, order: Literal["asc", "desc"] = "desc", purpose: str = ""
    ) -> FilePage:
        """Files by age that come after the file `after`; of one purpose if it is said. Raises `NoSuchFile` for `after`,
        `Unreadable`.
        """
        key = tuple_(_ROW.created_at_ms, _ROW.id)
        query = select(_ROW).where(_ROW.tenant == tenant, _live()).limit(limit + 1)
        query = query.order_by(*(one.asc() if order == "asc" else one.desc() for one in (_ROW.created_at_ms, _ROW.id)))
        if purpose:
            query = query.where(_ROW.purpose == purpose)
        with self._db.read() as session:
            if after is not None:
                last = self._require(session, tenant, after)
                at = (last.created_at_ms, last.id)
                query = query.where(key > at if order == "asc" else key < at)
            rows = session.scalars(query).all()
        return FilePage([self._info(row) for row in rows[:limit]], len(rows) > limit)

    def content(self, tenant: str, id_: str) -> Iterator[bytes]:
        """The bytes of a file, some megabytes at a time; the last ones only when all are what was written.

        Raises `NoSuchFile` at once, `CorruptBlob` and `StorageFailed` on the way.
        """
        with self._db.read() as session:
            info, parts = self._info(self._require(session, tenant, id_)), parts_of(session, id_)
        return self._verified(info, parts)

    def copy(self, tenant: str, id_: str, target: Path) -> FileInfo:
        """Write the bytes of a file to a new file on this machine. Raises as `content`, and `OSError`."""
        info = self.get(tenant, id_)
        with target.open("xb") as file:
            for some in self.content(tenant, id_):
                file.write(some)
        return info

    def _verified(self, info: FileInfo, parts: Sequence[FilePart]) -> Iterator[bytes]:
        found = hashlib.sha256()
        held = b""
        for piece in self._parts.read(parts):
            found.update(piece)
            if held:
                yield held
            held = piece
        if f"sha256:{found.hexdigest()}" != info.digest:
            raise CorruptBlob(f"file {info.id} is not what was written; restore it from a backup, or delete it")
        yield held

    def _require(self, session: Session, tenant: str, id_: str) -> TenantFile:
        of = (_ROW.tenant == tenant, _ROW.id == _possible(id_), _live())
        row = session.scalars(select(_ROW).where(*of)).first()
        if row is None:
            raise NoSuchFile(id_)
        return row

    def _row(self, info: FileInfo) -> TenantFile:
        about = orjson.dumps({"filename": info.filename, "digest": info.digest})
        return _ROW(
            tenant=info.tenant,
            id=info.id,
            created_at_ms=info.created_at_ms,
            expires_at_ms=info.expires_at_ms,
            bytes=info.bytes,
            purpose=info.purpose,
            about=self._keyring.seal(about, info.tenant, info.id, ABOUT),
        )

    def _info(self, row: TenantFile) -> FileInfo:
        about = orjson.loads(self._keyring.open(row.about, row.tenant, row.id, ABOUT))
        return FileInfo(
            row.id,
            row.tenant,
            about["filename"],
            row.purpose,
            row.bytes,
            about["digest"],
            row.created_at_ms,
            row.expires_at_ms,
        )


def checked_filename(given: str) -> str:
    """The name without folders before it. Raises `InvalidInput` for what no file can be called."""
    name = re.split(r"[/\\]", given)[-1].strip()
    if name in ("", ".", "..") or len(name) > MOST_FILENAME_CHARS or not name.isprintable():
        raise InvalidInput(
            f"filename is {given[:80]!r}; expected 1 to {MOST_FILENAME_CHARS} printable characters that are no folder",
            param="filename",
        )
    return name


def _live() -> ColumnElement[bool]:
    """Those that have not expired."""
    return or_(_ROW.expires_at_ms.is_(None), _ROW.expires_at_ms > now_ms())


def _possible(id_: str) -> str:
    """The id, if one can be that: not every database can be asked for everything. Raises `NoSuchFile`."""
    if not _ID.fullmatch(id_):
        raise NoSuchFile(id_)
    return id_
