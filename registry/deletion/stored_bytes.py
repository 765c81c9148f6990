"""The bytes of a deleted tenant's versions in the blob store, but those that another tenant's versions have too."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter, Version, VersionProof
from registry.adapters.version_files import VersionFiles
from registry.backends import BLOBS_LOCK, hold
from registry.db import Database
from registry.errors import CorruptBlob, NotFound
from registry.tenants.rows import Tenant
from registry.tenants.store import of_a_tenant

GONE = {"deleted": True}
"""The lineage of a version whose bytes are removed."""
_PROOFS = select(VersionProof.blob_digest)


def versions_with_bytes(session: Session, tenant: str) -> list[Version]:
    """Those of a deleted tenant whose bytes are not removed yet, oldest first."""
    rows = select(Version).join(Adapter, Adapter.id == Version.adapter_id).where(Adapter.tenant == tenant)
    return [row for row in session.scalars(rows.order_by(Version.id)) if row.lineage != GONE]


class VersionBytes:
    """Removes them for one tenant. It reads every other tenant's manifests once: contents may be shared."""

    def __init__(self, db: Database, files: VersionFiles) -> None:
        self._db = db
        self._files = files
        self._read: set[str] = set()
        self._needed: set[str] = set()

    def remove(self, version_id: int) -> None:
        """Remove the bytes of a version. Raises `StorageFailed`: then the next time goes on."""
        with self._db.read() as session:
            digest = session.get_one(Version, version_id).manifest_digest
            self._look(session)
        with self._db.write() as session:
            hold(session, BLOBS_LOCK)  # who publishes the same contents finds them, or stores them anew
            self._look(session)
            if digest not in self._read:
                self._remove(session, digest)
            session.get_one(Version, version_id).lineage = GONE

    def _remove(self, session: Session, digest: str) -> None:
        needed = self._needed | set(session.scalars(_PROOFS.where(VersionProof.manifest_digest != digest)))
        self._files.remove(digest, needed)
        proof = session.get(VersionProof, digest)
        if proof is not None:
            if proof.blob_digest not in needed:
                self._files.remove_blob(proof.blob_digest)
            session.delete(proof)

    def _look(self, session: Session) -> None:
        """At manifests of tenants that are there, which this has not read yet."""
        owned = select(Version.manifest_digest).join(Adapter, Adapter.id == Version.adapter_id)
        for digest in set(session.scalars(owned.where(of_a_tenant(Adapter.tenant)))) - self._read:
            self._read.add(digest)
            try:
                self._needed |= self._files.contents(digest)
            except (NotFound, CorruptBlob):  # the damage is that version's own, and is told when it is asked for
                continue


def removed_digests(session: Session, digests: Collection[str], but: Collection[int]) -> set[str]:
    """Which of these manifests are deleted tenants' alone, and of no version in `but`, by id."""
    deleted = select(Version.id, Version.manifest_digest).join(Adapter, Adapter.id == Version.adapter_id)
    deleted = deleted.join(Tenant, Tenant.name == Adapter.tenant).where(Tenant.deleted_at_ms.is_not(None))
    rows = session.execute(deleted).all()
    gone = {digest for _, digest in rows} & set(digests)
    if not gone:
        return gone
    others = select(Version.manifest_digest).join(Adapter, Adapter.id == Version.adapter_id)
    others = others.where(Version.manifest_digest.in_(gone), of_a_tenant(Adapter.tenant))
    return gone - {digest for id_, digest in rows if id_ in but} - set(session.scalars(others))
