"""Uploads: files that come in parts, one after the other or several at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import orjson
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from registry.db import Database, now_ms
from registry.errors import CorruptBlob, InvalidInput, RegistryError
from registry.ids import can_be_file_id, new_file_id
from registry.responses.sealing import Keyring
from registry.tenant_files.draft import PartDraft
from registry.tenant_files.infos import (
    ABOUT,
    FileInfo,
    checked_filename,
    checked_purpose,
    file_made_now,
    info_of,
    row_of,
)
from registry.tenant_files.parts import (
    FILE_PREFIX,
    PENDING,
    UPLOAD_PREFIX,
    Bounds,
    Parts,
    give_up,
    parts_of,
    require_bytes,
    require_files,
)
from registry.tenant_files.rows import FilePart, TenantFile, Upload
from registry.tenants.store import require_tenant

COMPLETED, CANCELLED, EXPIRED = "completed", "cancelled", "expired"
Status = Literal["pending", "completed", "cancelled", "expired"]
LIVES_MS = 3_600_000
"""An upload takes parts for an hour."""
KEPT_MS = 3_600_000
"""So long after that hour it is known what became of it."""
SLACK_MS = 3_600_000
"""Its parts stay so much longer, for who is putting them together when the hour ends."""
MOST_PART_BYTES = 64 << 20
MOST_PARTS = 2_000
"""Of one upload: completing it changes the rows of all in one transaction, in which nobody else writes."""
MOST_UPLOADS = 1_000
"""Of a tenant, that are known."""
READ_AT_ONCE = 4
"""Pieces that one step of putting an upload together reads."""


class NoSuchUpload(RegistryError):
    """An upload is not there: never there, long over, or another tenant's."""

    def __init__(self, id_: str) -> None:
        super().__init__(f"there is no upload {id_[:80]!r}", param="upload_id")
        self.id = id_


class UploadOver(RegistryError):
    """An upload has been completed or cancelled, or has expired."""

    def __init__(self, id_: str, status: str) -> None:
        super().__init__(f"upload {id_} is {status}", param="upload_id")
        self.id, self.status = id_, status


class TooManyUploads(RegistryError):
    """A tenant has made so many uploads that it has to wait until some are forgotten."""


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """An upload without its parts."""

    id: str
    tenant: str
    filename: str
    purpose: str
    bytes: int
    """That the file has, or is to have."""
    status: Status
    created_at_ms: int
    expires_at_ms: int
    file: FileInfo | None = None
    """What it became, if that is still there."""


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One part that has come."""

    id: str
    upload_id: str
    created_at_ms: int


class Uploads:
    """The uploads of all tenants. For any number of threads."""

    def __init__(self, db: Database, parts: Parts, keyring: Keyring) -> None:
        self._db = db
        self._parts = parts
        self._keyring = keyring

    def create(
        self,
        tenant: str,
        filename: str,
        purpose: str,
        size: int,
        *,
        bounds: Bounds,
        file_expires_after_s: int | None = None,
    ) -> UploadInfo:
        """Begin one of `size` bytes. Raises `InvalidInput`, `NoRoom`, `TooManyUploads`, `NotFound` without the tenant.

        `bounds` are those of the whole file.
        """
        if not 0 < size <= bounds.most_bytes:
            raise InvalidInput(f"bytes is {size}; expected 1 to {bounds.most_bytes}", param="bytes")
        at_ms = now_ms()
        about = {"filename": checked_filename(filename), "order": None}
        row = Upload(
            tenant=tenant,
            id=new_file_id(UPLOAD_PREFIX),
            created_at_ms=at_ms,
            expires_at_ms=at_ms + LIVES_MS,
            status=PENDING,
            purpose=checked_purpose(purpose),
            bytes=size,
            file_expires_after_s=file_expires_after_s,
            file_id=None,
        )
        self._seal(row, about)
        with self._db.write() as session:
            require_tenant(session, tenant, lock=True)
            if session.scalars(select(func.count()).where(Upload.tenant == tenant)).one() >= MOST_UPLOADS:
                raise TooManyUploads(
                    f"the tenant has made {MOST_UPLOADS} uploads in two hours; wait until some are forgotten"
                )
            require_files(session, tenant, bounds.allowance)
            require_bytes(session, tenant, bounds.allowance, size, size)
            session.add(row)
        return self._info(row)

    def begin_part(self, tenant: str, id_: str, bounds: Bounds, expected: int | None = None) -> PartDraft:
        """Begin a part: write to the draft, then `keep_part` or drop it. Raises `NoSuchUpload`, `UploadOver`, `NoRoom`,
        `InvalidInput` when it has too many.
        """
        with self._db.read() as session:
            _require_pending(_require(session, tenant, id_))
            parts = session.scalars(select(func.count()).where(FilePart.owner == id_)).one()
        if parts >= MOST_PARTS:
            raise InvalidInput(f"upload_id has {MOST_PARTS} parts, which are the most: send longer ones")
        of_file = replace(bounds, allowance=replace(bounds.allowance, files=None))
        return PartDraft(self._parts, tenant, id_, of_file, expected)

    def keep_part(self, draft: PartDraft) -> PartInfo:
        """Make a part of what was written. Raises `NoSuchUpload`, `UploadOver`, `InvalidInput` for an empty one."""
        if not draft.bytes:
            raise InvalidInput("data is empty: the part has no bytes", param="data")
        draft.close()
        with self._db.write() as session:
            upload = _require(session, draft.tenant, draft.owner, lock=True)
            _require_pending(upload)
            whole = {
                "bytes": draft.bytes,
                "pieces": draft.pieces,
                "removable_from_ms": upload.expires_at_ms + SLACK_MS,
            }
            session.execute(update(FilePart).where(FilePart.id == draft.id).values(whole))
        draft.kept()
        return PartInfo(draft.id, draft.owner, now_ms())

    def cancel(self, tenant: str, id_: str) -> UploadInfo:
        """End one, and remove its parts. To cancel twice is no error. Raises `NoSuchUpload`, `UploadOver`."""
        with self._db.write() as session:
            row = _require(session, tenant, id_, lock=True)
            if status_of(row) in (COMPLETED, EXPIRED):
                raise UploadOver(id_, status_of(row))
            row.status = CANCELLED
            give_up(session, [id_])
            gone = _whole(parts_of(session, id_))
        self._parts.remove(gone)
        return self._info(row)

    def completion(self, tenant: str, id_: str, part_ids: Sequence[str], md5: str | None = None) -> Completion:
        """What puts the parts together, in this order. Raises `NoSuchUpload`, `UploadOver`, `InvalidInput`."""
        with self._db.read() as session:
            row = _require(session, tenant, id_)
            order = _digest(part_ids, md5)
            if (
                row.status == COMPLETED and self._about(row)["order"] == order
            ):  # a client that heard no answer asks again
                return Completion(lambda _found: self._completed(tenant, id_), iter(()), None)
            _require_pending(row)
            by_id = {part.id: part for part in _whole(parts_of(session, id_))}
        parts = _in_order(by_id, part_ids, row.bytes)
        return Completion(
            lambda digest: self._complete(tenant, id_, parts, digest, order), self._read(tenant, id_, parts), md5
        )

    def _read(self, tenant: str, id_: str, parts: Sequence[FilePart]) -> Iterator[bytes]:
        """The bytes of the parts. Raises `UploadOver` when somebody has ended the upload, and they are gone."""
        try:
            yield from self._parts.read(parts)
        except CorruptBlob:
            with self._db.read() as session:
                _require_pending(_require(session, tenant, id_))
            raise

    def _complete(self, tenant: str, id_: str, parts: Sequence[FilePart], digest: str, order: str) -> UploadInfo:
        with self._db.write() as session:
            row = _require(session, tenant, id_, lock=True)
            about = self._about(row)
            if row.status == COMPLETED and about["order"] == order:
                return self._with_file(session, row)
            _require_pending(row)
            expiry = row.file_expires_after_s
            file = file_made_now(
                new_file_id(FILE_PREFIX), tenant, about["filename"], row.purpose, row.bytes, digest, expiry
            )
            session.add(row_of(self._keyring, file))
            row.status, row.file_id = COMPLETED, file.id
            self._seal(row, {**about, "order": order})
            give_up(session, [id_])
            gone = parts_of(session, id_)
            owned = {"owner": file.id, "removable_from_ms": None}
            session.execute(
                update(FilePart), [{"id": part.id, "position": place, **owned} for place, part in enumerate(parts)]
            )
        kept = {part.id for part in parts}
        self._parts.remove([part for part in _whole(gone) if part.id not in kept])
        return replace(self._info(row), file=file)

    def _completed(self, tenant: str, id_: str) -> UploadInfo:
        with self._db.read() as session:
            return self._with_file(session, _require(session, tenant, id_))

    def _with_file(self, session: Session, row: Upload) -> UploadInfo:
        file = session.get(TenantFile, (row.tenant, row.file_id))
        return replace(self._info(row), file=None if file is None else info_of(self._keyring, file))

    def _info(self, row: Upload) -> UploadInfo:
        return UploadInfo(
            row.id,
            row.tenant,
            self._about(row)["filename"],
            row.purpose,
            row.bytes,
            status_of(row),
            row.created_at_ms,
            row.expires_at_ms,
        )

    def _about(self, row: Upload) -> dict[str, Any]:
        about: dict[str, Any] = orjson.loads(self._keyring.open(row.about, row.tenant, row.id, ABOUT))
        return about

    def _seal(self, row: Upload, about: dict[str, Any]) -> None:
        row.about = self._keyring.seal(orjson.dumps(about), row.tenant, row.id, ABOUT)


class Completion:
    """Reads what was uploaded, in steps between which others get their turn, and then makes a file of it."""

    def __init__(self, complete: Callable[[str], UploadInfo], pieces: Iterator[bytes], md5: str | None) -> None:
        self._complete = complete
        self._pieces = pieces
        self._wanted = None if md5 is None else md5.strip().lower()
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)

    def step(self) -> UploadInfo | None:
        """Go on for some megabytes; the upload when it is complete. Raises `InvalidInput` for another checksum than was
        said, `UploadOver` when somebody was faster, `CorruptBlob`, `StorageFailed`.
        """
        for _ in range(READ_AT_ONCE):
            piece = next(self._pieces, None)
            if piece is None:
                return self._end()
            self._sha256.update(piece)
            if self._wanted is not None:
                self._md5.update(piece)
        return None

    def _end(self) -> UploadInfo:
        if self._wanted not in (None, self._md5.hexdigest()):
            raise InvalidInput(
                f"md5 is {str(self._wanted)[:40]!r}, and what came has {self._md5.hexdigest()}; send the parts again",
                param="md5",
            )
        return self._complete(f"sha256:{self._sha256.hexdigest()}")


def status_of(row: Upload) -> Status:
    """In force."""
    if row.status == PENDING and row.expires_at_ms <= now_ms():
        return "expired"
    return cast("Status", row.status)


def _require(session: Session, tenant: str, id_: str, *, lock: bool = False) -> Upload:
    if not can_be_file_id(id_):
        raise NoSuchUpload(id_)
    row = session.get(Upload, (tenant, id_), with_for_update=lock)
    if row is None:
        raise NoSuchUpload(id_)
    return row


def _require_pending(row: Upload) -> None:
    if (status := status_of(row)) != PENDING:
        raise UploadOver(row.id, status)


def _whole(parts: Sequence[FilePart]) -> list[FilePart]:
    """Without those that are under way: who writes them finds out that nobody wants them."""
    return [part for part in parts if part.pieces is not None]


def _in_order(by_id: dict[str, FilePart], part_ids: Sequence[str], size: int) -> list[FilePart]:
    """The parts that are named. Raises `InvalidInput` unless they are this upload's, each once, and `size` bytes."""
    if missing := [one for one in part_ids if one not in by_id]:
        raise InvalidInput(f"part_ids has {missing[0][:80]!r}, which is no part of this upload", param="part_ids")
    if len(set(part_ids)) != len(part_ids):
        raise InvalidInput("part_ids has a part twice; name each once, in the order of the file", param="part_ids")
    found = sum(by_id[one].bytes for one in part_ids)
    if found != size:
        raise InvalidInput(
            f"part_ids have {found} bytes, and the upload was to have {size}; send what is missing, or begin another "
            "upload",
            param="part_ids",
        )
    return [by_id[one] for one in part_ids]


def _digest(part_ids: Sequence[str], md5: str | None) -> str:
    return hashlib.sha256(orjson.dumps([list(part_ids), md5])).hexdigest()
