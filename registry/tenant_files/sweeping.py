"""Removing what nobody needs: files that have expired, uploads that are over, and bytes that belong to nothing."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import delete, func, select, tuple_

from registry.db import Database, now_ms
from registry.storage.blobs import BlobStore
from registry.tenant_files.parts import Parts, give_up
from registry.tenant_files.pieces import FOLDER
from registry.tenant_files.rows import TenantFile, Upload
from registry.tenant_files.uploads import KEPT_MS

TORN_AFTER_S = 7_200.0
"""What a process has left that was killed while it wrote a piece."""


class FileSweep:
    """Over all tenants. Every method is short transactions."""

    def __init__(
        self, db: Database, parts: Parts, blobs: BlobStore, needed_by: Callable[[str, str], list[str]]
    ) -> None:
        """`needed_by`: the jobs of a tenant that need a file and have not ended."""
        self._db = db
        self._parts = parts
        self._blobs = blobs
        self._needed_by = needed_by

    def sweep(self, most: int) -> int:
        """Remove at most so many of each; how many parts and uploads went. Raises `StorageFailed`: then the next time
        goes on.
        """
        uploads = self._forget_uploads(most)
        self._expire(most)
        parts = self._parts.removable(most)
        self._parts.remove(parts)
        return len(parts) + uploads

    def remove_torn(self) -> None:
        """Remove pieces that nobody finished writing, which have no row. It looks at every piece that there is."""
        self._blobs.remove_torn(FOLDER, TORN_AFTER_S)

    def _expire(self, most: int) -> None:
        """A file that a job needs stays until that has ended, though nobody sees it any more."""
        expired = [(tenant, id_) for tenant, id_ in self._expired(most) if not self._needed_by(tenant, id_)]
        if not expired:
            return
        with self._db.write() as session:
            key = tuple_(TenantFile.tenant, TenantFile.id)
            session.execute(delete(TenantFile).where(key.in_(expired)))
            give_up(session, [id_ for _, id_ in expired])

    def _expired(self, most: int) -> list[tuple[str, str]]:
        row = TenantFile
        query = select(row.tenant, row.id).where(row.expires_at_ms <= now_ms())
        with self._db.read() as session:  # in any order: those that jobs need must not be all that is ever found
            return [(tenant, id_) for tenant, id_ in session.execute(query.order_by(func.random()).limit(most))]

    def _forget_uploads(self, most: int) -> int:
        row = Upload
        over = select(row.tenant, row.id).where(row.expires_at_ms <= now_ms() - KEPT_MS).limit(most)
        with self._db.read() as session:
            ids = [(tenant, id_) for tenant, id_ in session.execute(over)]
        if ids:
            with self._db.write() as session:
                session.execute(delete(row).where(tuple_(row.tenant, row.id).in_(ids)))
        return len(ids)
