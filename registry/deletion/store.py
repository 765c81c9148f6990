"""Deletions of tenants, ordered and looked at. `registry.deletion.emptying` carries them out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from registry.adapters.version_files import VersionFiles
from registry.db import Database
from registry.deletion.contents import CONTENTS, FILES, JOBS
from registry.deletion.emptying import VERSIONS, Emptying, Removed
from registry.deletion.ordering import delete_tenant
from registry.deletion.stored_bytes import removed_digests, versions_with_bytes
from registry.storage.blobs import BlobStore
from registry.tenant_files.parts import Parts
from registry.tenants.actions import PROGRAM
from registry.tenants.rows import ApiKey, Tenant
from registry.tenants.store import no_tenant, require_unchanged


@dataclass(frozen=True, slots=True)
class Deletion:
    """A tenant that is deleted, or would be."""

    tenant: str
    deleted_at_ms: int | None
    """`None`: it is there."""
    keys_in_force: int
    """That end with it."""
    left: dict[str, int]
    """What is removed, or still to be: by what it is, and nothing of which there is none."""


class Deletions:
    """For any number of threads and processes: a step that two of them do at once is done once."""

    def __init__(self, db: Database, blobs: BlobStore, version_files: VersionFiles, parts: Parts) -> None:
        self._db = db
        self._blobs = blobs
        self._version_files = version_files
        self._parts = parts

    def look(self, name: str) -> Deletion:
        """What there is of a tenant, and nothing done; of one that is deleted, what is left. Raises `NotFound`."""
        with self._db.read() as session:
            return _info(session, _required(session, name))

    def order(self, name: str, *, actor: str = PROGRAM, expected: Collection[str] | None = None) -> Deletion:
        """Let there be no such tenant, in one transaction; what it leaves is removed by `empty`. Once more is no error
        before all of that is over. `expected` are the etags of the tenant that may be deleted. Raises `NotFound`,
        `Stale`.
        """
        with self._db.write() as session:
            tenant = _required(session, name, lock=True)
            if tenant.deleted_at_ms is None:
                require_unchanged(tenant, expected)
                delete_tenant(session, tenant, actor)
                session.flush()
            return _info(session, tenant)

    def unfinished(self) -> list[str]:
        """Deleted tenants of which something is left, or may still come, oldest first."""
        query = select(Tenant.name).where(Tenant.deleted_at_ms.is_not(None), Tenant.emptied_at_ms.is_(None))
        with self._db.read() as session:
            return list(session.scalars(query.order_by(Tenant.deleted_at_ms)))

    def empty(self, name: str) -> Iterator[Removed]:
        """Remove what a deleted tenant has left, a step each time; it may be stopped between any two, and another one
        goes on. Raises `StorageFailed`.
        """
        return Emptying(self._db, self._blobs, self._version_files, self._parts, name).steps()

    def remove_folders(self, resident: Collection[int]) -> int:
        """Remove folders of versions of deleted tenants that are laid out on this machine, but for those that are
        `resident` on an engine, by their ids; how many.
        """
        laid_out = self._version_files.laid_out()
        if not laid_out:
            return 0
        with self._db.read() as session:
            gone = removed_digests(session, laid_out, resident)
        for digest in sorted(gone):
            self._version_files.remove_folder(digest)
        return len(gone)


def _required(session: Session, name: str, *, lock: bool = False) -> Tenant:
    """Also one that is deleted, until nothing can come any more of what it has left."""
    row = session.get(Tenant, name, with_for_update=lock)
    if row is None or row.emptied_at_ms is not None:
        raise no_tenant(name)
    return row


def _info(session: Session, tenant: Tenant) -> Deletion:
    name = tenant.name
    counts = {one.what: one.count(session, name) for one in (*CONTENTS, JOBS, FILES) if one.what}
    counts[VERSIONS] = len(versions_with_bytes(session, name))
    keys = select(func.count()).where(ApiKey.tenant == name, ApiKey.revoked_at_ms.is_(None))
    left = {what: count for what, count in counts.items() if count}
    return Deletion(name, tenant.deleted_at_ms, session.execute(keys).scalar_one(), left)
