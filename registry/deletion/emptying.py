"""Removing what a deleted tenant has left: short transactions, and bytes before the rows that name them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from registry.adapters.version_files import VersionFiles
from registry.db import Database, now_ms
from registry.deletion.contents import CONTENTS, FILES, JOBS, Content
from registry.deletion.stored_bytes import VersionBytes, versions_with_bytes
from registry.storage.blobs import BlobStore
from registry.tenant_files.parts import Parts
from registry.tenant_files.rows import FilePart, TenantFile
from registry.tenants.rows import Tenant
from registry.training.jobs import STATES_FOLDER
from registry.training.rows import TrainingJobRow

BATCH = 500
"""Rows that one transaction deletes: it holds up others for milliseconds."""
JOBS_AT_ONCE, PARTS_AT_ONCE = 20, 50
"""Whose bytes are removed before one transaction deletes their rows."""
VERSIONS = "versions' files"
LATE_MS = 86_400_000
"""So long after the order it is looked for what requests have left that were in flight then."""


@dataclass(frozen=True, slots=True)
class Removed:
    """One step: so many of these; nothing in `what`: of what belongs to others."""

    what: str
    count: int


class Emptying:
    """Of one tenant. What another process removes at the same time is removed once."""

    def __init__(self, db: Database, blobs: BlobStore, version_files: VersionFiles, parts: Parts, tenant: str) -> None:
        self._db = db
        self._blobs = blobs
        self._version_files = version_files
        self._parts = parts
        self._tenant = tenant

    def steps(self) -> Iterator[Removed]:
        """From what belongs to others on. Raises `StorageFailed`."""
        for content in CONTENTS:
            yield from self._rows(content)
        yield from self._jobs()
        yield from self._files()
        yield from self._versions()
        self._finish()

    def _rows(self, content: Content) -> Iterator[Removed]:
        while True:
            with self._db.read() as session:  # where there is nothing, no turn at writing is needed
                if session.execute(content.some(self._tenant, 1)).first() is None:
                    return
            with self._db.write() as session:
                self._lock(session)
                count = content.delete(session, self._tenant, BATCH)
            yield Removed(content.what, count)

    def _jobs(self) -> Iterator[Removed]:
        """With all that was stored of their trainings. What a worker stores later it removes, as its lease is lost."""
        row = TrainingJobRow
        query = select(row.number, row.id).where(row.tenant == self._tenant).order_by(row.number).limit(JOBS_AT_ONCE)
        while True:
            with self._db.read() as session:
                jobs = session.execute(query).all()
            if not jobs:
                return
            for _, id_ in jobs:
                self._blobs.remove(self._blobs.names_below(f"{STATES_FOLDER}/{id_}"))
            with self._db.write() as session:
                self._lock(session)
                session.execute(delete(row).where(row.number.in_([number for number, _ in jobs])))
            yield Removed(JOBS.what, len(jobs))

    def _files(self) -> Iterator[Removed]:
        """Parts that are under way stay for the sweep of files: whoever writes one knows how far it is."""
        row = FilePart
        whole = select(row).where(row.tenant == self._tenant, row.pieces.is_not(None)).limit(PARTS_AT_ONCE)
        while True:
            with self._db.read() as session:
                parts = session.scalars(whole).all()
            if not parts:
                break
            self._parts.remove(parts)
            yield Removed("", len(parts))
        yield from self._rows(FILES)

    def _versions(self) -> Iterator[Removed]:
        with self._db.read() as session:
            ids = [version.id for version in versions_with_bytes(session, self._tenant)]
        stored = VersionBytes(self._db, self._version_files)
        for version_id in ids:
            stored.remove(version_id)
            yield Removed(VERSIONS, 1)

    def _finish(self) -> None:
        """Nothing is left; it is over when nothing can come any more."""
        tenant = self._tenant
        with self._db.write() as session:
            row = self._lock(session)
            if row.deleted_at_ms is None or row.emptied_at_ms is not None or row.deleted_at_ms > now_ms() - LATE_MS:
                return
            parts = session.scalars(select(FilePart.id).where(FilePart.tenant == tenant).limit(1)).first()
            files = session.scalars(select(TenantFile.id).where(TenantFile.tenant == tenant).limit(1)).first()
            if parts is None and files is None:
                row.emptied_at_ms = now_ms()

    def _lock(self, session: Session) -> Tenant:
        """Who else does the same waits."""
        return session.get_one(Tenant, self._tenant, with_for_update=True)
