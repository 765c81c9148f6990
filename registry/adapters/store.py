"""Adapters: publish them, list them, keep bad versions away from engines.

A publish goes blobs → manifest → one SQL transaction. Until that transaction commits nothing refers to the bytes,
so a crash at any point leaves the registry as it was (and at most some unreferenced blobs, which the next publish
of the same bytes finds).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from registry.adapters.aliases import AliasInfo, AliasMove, aliases_of, moves_of
from registry.adapters.effect_proof import EFFECT_PROOF_FILE, check_proof, is_indistinguishable, parse_proof, read_proof
from registry.adapters.proofs import record_proof
from registry.adapters.rows import Adapter, Version, VersionProof
from registry.adapters.training_rows import require_rows
from registry.adapters.version_files import VersionFiles
from registry.adapters.version_rows import VersionInfo, require_adapter, require_version, version_info
from registry.backends import BLOBS_LOCK, hold
from registry.bases.store import BaseModels
from registry.db import Database, now_ms
from registry.errors import InvalidInput
from registry.names import AdapterRef, VersionNumber, check_name
from registry.storage.blobs import digest_of
from registry.tenants.store import deletion_goes_on, of_a_tenant, require_tenant

if TYPE_CHECKING:
    from registry.catalog.changes import WriteSession


@dataclass(frozen=True, slots=True)
class Published:
    """Outcome of a publish. `created` is false when these very bytes were a version of the adapter already."""

    version: VersionInfo
    created: bool


class Adapters:
    """The versions of all tenants."""

    def __init__(self, db: Database, files: VersionFiles, bases: BaseModels, max_rank: int) -> None:
        self._db = db
        self._files = files
        self._bases = bases
        self._max_rank = max_rank

    def publish(
        self,
        *,
        tenant: str,
        adapter: str,
        folder: Path,
        base: str,
        lineage: Mapping[str, Any],
        declared_base: str | None = None,
        also: Callable[[WriteSession, VersionInfo], None] | None = None,
    ) -> Published:
        """Inspect a PEFT folder and make it the next version of `tenant/adapter`.

        `base` is a base model's public name or digest; `declared_base` is the digest that the adapter itself says
        it was trained on, when it says so; `also` is done in the same transaction, and what it raises undoes that.
        Raises `AdapterRefused`, `NotFound`, `InvalidInput`.
        """
        from registry.adapters.inspect import inspect_adapter  # brings numpy, which a gateway has no use for
        from registry.adapters.taking import taken

        check_name(adapter, "adapter")
        base_info = self._bases.get(base)
        with self._db.read() as session:
            require_tenant(session, tenant)
        with taken(folder, base_info.spec, self._max_rank) as copy:  # what is stored is what was inspected
            facts = inspect_adapter(
                copy,
                base_info.spec,
                max_rank=self._max_rank,
                declared_base=declared_base,
                imported=lineage.get("source") == "import",
            )
            proof, proof_digest = read_proof(copy), None
            if proof is not None:
                check_proof(proof, base_info.spec.vocab_size)
                proof_digest = digest_of((copy / EFFECT_PROOF_FILE).read_bytes())
            require_rows(copy)

            def store() -> str:
                return self._files.store(copy, base_info.digest, asdict(facts), lineage)

            digest = store()
            with self._db.write() as session:
                require_tenant(session, tenant, lock=True)  # a tenant's publishes queue here, so that numbers follow
                hold(session, BLOBS_LOCK)
                if deletion_goes_on(session) and not self._files.is_whole(digest):  # a deleted tenant had these too
                    store()
                row = _get_or_add_adapter(session, tenant, adapter)
                known = select(Version).where(Version.adapter_id == row.id, Version.manifest_digest == digest)
                version = session.scalars(known).one_or_none()
                created = version is None
                if version is None:
                    version = _add_version(session, row, digest, base_info.digest, asdict(facts), lineage)
                if proof is not None and proof_digest is not None:
                    record_proof(session, digest, proof_digest, proof, attached=False)
                published = Published(version_info(session, row, version), created)
                if also is not None:
                    also(session, published.version)
                return published

    def attach_proof(self, ref: AdapterRef, data: bytes) -> VersionInfo:
        """Give a published version the effect proof in `data`, in place of one that was attached before.

        The version's own bytes stay as they are: the proof is a blob of its own, and lies in the version's folder from
        the next `materialise` on. Raises `NotFound`, `AdapterRefused` for what is no proof, and `InvalidInput` for a
        version that was published with one.
        """
        version = self.get(ref)
        proof = parse_proof(data)
        check_proof(proof, self._bases.get(version.base_digest).spec.vocab_size)
        self.require_provable(version)
        blob = self._files.store_proof(data)
        with self._db.write() as session:
            hold(session, BLOBS_LOCK)
            if deletion_goes_on(session):
                self._files.store_proof(data)
            record_proof(session, version.manifest_digest, blob, proof, attached=True)
        self._files.renew_proof(version.manifest_digest, data)
        return self.get(ref)

    def require_provable(self, version: VersionInfo) -> None:
        """Raises `InvalidInput` for a version that was published with a proof: it needs no other, and has no room."""
        if self._files.published_with_proof(version.manifest_digest):
            raise InvalidInput(
                f"{version.name} was published with an effect proof, which is part of its bytes; "
                "publish the folder again without its effect_proof.json to prove it anew",
                param="version",
            )

    def all(self, tenant: str | None = None) -> list[VersionInfo]:
        """Every version, by tenant, adapter and number."""
        with self._db.read() as session:
            if tenant is None:
                return _listed(session)
            require_tenant(session, tenant)
            return _listed(session, Adapter.tenant == tenant)

    def of(self, ref: AdapterRef) -> list[VersionInfo]:
        """All versions of an adapter; what the reference has after `@` does not matter. Raises `NotFound`."""
        with self._db.read() as session:
            return _listed(session, Version.adapter_id == require_adapter(session, ref).id)

    def get(self, ref: AdapterRef) -> VersionInfo:
        """The version that a reference names; raises `NotFound`."""
        with self._db.read() as session:
            adapter = require_adapter(session, ref)
            return version_info(session, adapter, require_version(session, adapter, ref))

    def aliases(self, ref: AdapterRef) -> list[AliasInfo]:
        """The adapter's aliases by name; what the reference has after `@` does not matter. Raises `NotFound`."""
        with self._db.read() as session:
            return aliases_of(session, require_adapter(session, ref))

    def history(self, ref: AdapterRef) -> list[AliasMove]:
        """Moves of all the adapter's aliases, oldest first; what the reference has after `@` does not matter."""
        with self._db.read() as session:
            return moves_of(session, require_adapter(session, ref))

    def quarantine(self, version_id: int, reason: str, *, by_machine: bool = False) -> None:
        """Keep a version away from every engine, and say why. What a person has said stays a person's word."""
        with self._db.write() as session:
            row = session.get_one(Version, version_id, with_for_update=True)
            if by_machine and row.quarantined is not None and not row.quarantined_by_machine:
                return
            row.quarantined = reason[:1000]
            row.quarantined_by_machine = by_machine

    def release(self, version_id: int, *, by_machine: bool = False) -> bool:
        """Let engines have the version again, which prove it anew when they load it; False when it was free already.

        The machine ends only what it began.
        """
        with self._db.write() as session:
            row = session.get_one(Version, version_id, with_for_update=True)
            if by_machine and not row.quarantined_by_machine:
                return False
            was_quarantined = row.quarantined is not None
            row.quarantined = None
            row.quarantined_by_machine = False
            return was_quarantined

    def quarantined_by_machine(self) -> list[int]:
        """Ids of the versions whose quarantine ends when an engine proves them."""
        query = select(Version.id).where(Version.quarantined_by_machine, Version.quarantined.is_not(None))
        with self._db.read() as session:
            return list(session.scalars(query.order_by(Version.id)))

    def with_proof(self, manifest_digests: Collection[str]) -> set[str]:
        """Which of these manifests have an effect proof that tells the adapter from the base."""
        query = select(VersionProof).where(VersionProof.manifest_digest.in_(manifest_digests))
        with self._db.read() as session:
            return {
                row.manifest_digest
                for row in session.scalars(query)
                if not is_indistinguishable(row.largest_effect, row.noise)
            }

    def quarantined(self) -> list[VersionInfo]:
        """Every version that no engine may have, by tenant, adapter and number."""
        with self._db.read() as session:
            return _listed(session, Version.quarantined.is_not(None))


def _listed(session: Session, *conditions: ColumnElement[bool]) -> list[VersionInfo]:
    query = select(Adapter, Version).join(Version, Version.adapter_id == Adapter.id)
    query = query.where(of_a_tenant(Adapter.tenant), *conditions)
    rows = session.execute(query.order_by(Adapter.tenant, Adapter.name, Version.major, Version.minor)).all()
    return [version_info(session, adapter, version) for adapter, version in rows]


def _get_or_add_adapter(session: Session, tenant: str, name: str) -> Adapter:
    row = session.scalars(select(Adapter).where(Adapter.tenant == tenant, Adapter.name == name)).one_or_none()
    if row is None:
        row = Adapter(tenant=tenant, name=name, created_at_ms=now_ms())
        session.add(row)
        session.flush()
    return row


def _add_version(
    session: Session,
    adapter: Adapter,
    manifest_digest: str,
    base_digest: str,
    facts: Mapping[str, Any],
    lineage: Mapping[str, Any],
) -> Version:
    """The adapter's next version. Its tenant's row is locked."""
    number = _next_number(session, adapter.id, base_digest)
    version = Version(
        adapter_id=adapter.id,
        major=number.major,
        minor=number.minor,
        manifest_digest=manifest_digest,
        base_digest=base_digest,
        facts=dict(facts),
        lineage=dict(lineage),
        quarantined=None,
        created_at_ms=now_ms(),
    )
    session.add(version)
    session.flush()
    session.refresh(version)  # as it will be read: JSON has no tuples
    return version


def _next_number(session: Session, adapter_id: int, base_digest: str) -> VersionNumber:
    newest = session.scalars(
        select(Version)
        .where(Version.adapter_id == adapter_id)
        .order_by(Version.major.desc(), Version.minor.desc())
        .limit(1)
    ).one_or_none()
    if newest is None:
        return VersionNumber(1, 0)
    if newest.base_digest != base_digest:
        return VersionNumber(newest.major + 1, 0)
    return VersionNumber(newest.major, newest.minor + 1)
