"""Adapters: publish, list, move aliases, and lay a version out in a folder for an engine.

A publish goes blobs → manifest → one SQL transaction. Until that transaction commits nothing refers to the bytes,
so a crash at any point leaves the registry as it was (and at most some unreferenced blobs, which the next publish
of the same bytes finds).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.bases import BaseModels
from registry.blobs import BlobStore, canonical_json, digest_of
from registry.db import Database, now_ms
from registry.effect_proof import EFFECT_PROOF_FILE, check_proof, is_indistinguishable, parse_proof, read_proof
from registry.errors import Conflict, InvalidInput, NotFound
from registry.etags import alias_etag
from registry.models import Adapter, Alias, AliasEvent, Split, Version, VersionProof
from registry.names import AdapterRef, VersionNumber, check_name
from registry.private import seal
from registry.proofs import ProofInfo, attached_proof, lay_out_proof, proof_of, record_proof
from registry.tenants import require_tenant

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PUBLISHED_FILES = (CONFIG_FILE, WEIGHTS_FILE, EFFECT_PROOF_FILE)
"""What a version consists of. Anything else in a PEFT folder (a README, optimiser state) stays behind."""

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
MEDIA_TYPES = {
    CONFIG_FILE: "application/vnd.switchyard.peft.config.v1+json",
    WEIGHTS_FILE: "application/vnd.cncf.model.weight.v1.safetensors",
    EFFECT_PROOF_FILE: "application/vnd.switchyard.effect-proof.v1+json",
}


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One published version. `str(ref)` of it is what clients see as `model`."""

    id: int
    tenant: str
    adapter: str
    version: VersionNumber
    manifest_digest: str
    base_digest: str
    facts: dict[str, Any]
    lineage: dict[str, Any]
    aliases: tuple[str, ...]
    shares: dict[str, float]
    """Of every alias whose traffic is split now: how many percent of it go here, when any do."""
    quarantined: str | None
    quarantined_by_machine: bool
    """Whether engines' refusals put it there: then it ends when an engine proves the version."""
    proof: ProofInfo | None
    """What is known of its effect; `None` when nobody has measured it."""
    created_at_ms: int

    @property
    def name(self) -> str:
        """`tenant/adapter@MAJOR.MINOR`."""
        return f"{self.tenant}/{self.adapter}@{self.version}"


@dataclass(frozen=True, slots=True)
class Published:
    """Outcome of a publish. `created` is false when these very bytes were a version of the adapter already."""

    version: VersionInfo
    created: bool


@dataclass(frozen=True, slots=True)
class AliasMove:
    """One line of an alias's history."""

    alias: str
    from_version: str | None
    to_version: str
    actor: str
    reason: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class AliasInfo:
    """Where an alias points. `arms` are version → 1/10,000 of its traffic while it is split."""

    alias: str
    version: str
    etag: str
    arms: dict[str, int]


class Adapters:
    """The versions of all tenants."""

    def __init__(self, db: Database, blobs: BlobStore, bases: BaseModels, cache_dir: Path, max_rank: int) -> None:
        self._db = db
        self._blobs = blobs
        self._bases = bases
        self._cache_dir = cache_dir
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
    ) -> Published:
        """Inspect a PEFT folder and make it the next version of `tenant/adapter`.

        `base` is a base model's public name or digest; `declared_base` is the digest that the adapter itself says
        it was trained on, when it says so. Raises `AdapterRefused`, `NotFound`, `InvalidInput`.
        """
        from registry.inspect import inspect_adapter  # brings numpy, which a gateway has no use for
        from registry.taking import taken

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
            digest = self._store(copy, base_info.digest, asdict(facts), lineage)
        with self._db.write() as session:
            require_tenant(session, tenant, lock=True)  # a tenant's publishes queue here, so that numbers follow
            row = _get_or_add_adapter(session, tenant, adapter)
            version = session.scalars(
                select(Version).where(Version.adapter_id == row.id, Version.manifest_digest == digest)
            ).one_or_none()
            created = version is None
            if version is None:
                number = _next_number(session, row.id, base_info.digest)
                version = Version(
                    adapter_id=row.id,
                    major=number.major,
                    minor=number.minor,
                    manifest_digest=digest,
                    base_digest=base_info.digest,
                    facts=asdict(facts),
                    lineage=dict(lineage),
                    quarantined=None,
                    created_at_ms=now_ms(),
                )
                session.add(version)
                session.flush()
                session.refresh(version)  # as it will be read: JSON has no tuples
            if proof is not None and proof_digest is not None:
                record_proof(session, digest, proof_digest, proof, attached=False)
            return Published(version_info(session, row, version), created)

    def _store(self, folder: Path, base_digest: str, facts: Mapping[str, Any], lineage: Mapping[str, Any]) -> str:
        layers = []
        for name in PUBLISHED_FILES:
            path = folder / name
            if path.exists():
                data = path.read_bytes()
                layers.append(
                    {
                        "mediaType": MEDIA_TYPES[name],
                        "digest": self._blobs.put(data),
                        "size": len(data),
                        "annotations": {"org.opencontainers.image.title": name},
                    }
                )
        config = canonical_config(base_digest, facts, lineage)
        return self._blobs.put_manifest(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "artifactType": "application/vnd.switchyard.lora.v1",
                "config": {"mediaType": CONFIG_TYPE, "digest": self._blobs.put(config), "size": len(config)},
                "layers": layers,
            }
        )

    def materialise(self, manifest_digest: str) -> Path:
        """The version's folder in the cache, laid out and verified if it is not there yet, with its newest proof in it.

        The folder's name is the digest, so an engine's path is unique per content. It appears in one rename and its
        files are read-only: vLLM reads them again whenever the adapter falls out of its own cache.
        """
        target = self._folder_of(manifest_digest)
        complete = target.is_dir()
        if not complete:
            self._lay_out(manifest_digest, target)
        attached = attached_proof(
            self._db, manifest_digest, needed=not (complete or (target / EFFECT_PROOF_FILE).exists())
        )
        if attached is not None:
            lay_out_proof(target, self._blobs.get(attached))
        return target

    def _folder_of(self, manifest_digest: str) -> Path:
        return self._cache_dir / manifest_digest.removeprefix("sha256:")

    def _lay_out(self, manifest_digest: str, target: Path) -> None:
        manifest = self._blobs.get_manifest(manifest_digest)
        staging = Path(tempfile.mkdtemp(dir=self._cache_dir, prefix=".staging-"))
        try:
            for layer in manifest["layers"]:
                path = staging / layer["annotations"]["org.opencontainers.image.title"]
                _write_synced(path, self._blobs.get(layer["digest"]))
            seal(staging)
            try:
                os.replace(staging, target)
            except OSError:
                if not target.is_dir():  # another process was first: its bytes are the same bytes
                    raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)

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
        blob = self._blobs.put(data)
        with self._db.write() as session:
            record_proof(session, version.manifest_digest, blob, proof, attached=True)
        if self._folder_of(version.manifest_digest).is_dir():
            lay_out_proof(self._folder_of(version.manifest_digest), data)
        return self.get(ref)

    def require_provable(self, version: VersionInfo) -> None:
        """Raises `InvalidInput` for a version that was published with a proof: it needs no other, and has no room."""
        if EFFECT_PROOF_FILE in self._published_files(version.manifest_digest):
            raise InvalidInput(
                f"{version.name} was published with an effect proof, which is part of its bytes; "
                "publish the folder again without its effect_proof.json to prove it anew",
                param="version",
            )

    def _published_files(self, manifest_digest: str) -> set[str]:
        layers = self._blobs.get_manifest(manifest_digest)["layers"]
        return {layer["annotations"]["org.opencontainers.image.title"] for layer in layers}

    def all(self, tenant: str | None = None) -> list[VersionInfo]:
        """Every version, by tenant, adapter and number."""
        query = select(Adapter, Version).join(Version, Version.adapter_id == Adapter.id)
        if tenant is not None:
            query = query.where(Adapter.tenant == tenant)
        with self._db.read() as session:
            if tenant is not None:
                require_tenant(session, tenant)
            rows = session.execute(query.order_by(Adapter.tenant, Adapter.name, Version.major, Version.minor)).all()
            return [version_info(session, adapter, version) for adapter, version in rows]

    def get(self, ref: AdapterRef) -> VersionInfo:
        """The version that a reference names; raises `NotFound`."""
        with self._db.read() as session:
            adapter = require_adapter(session, ref)
            return version_info(session, adapter, require_version(session, adapter, ref))

    def aliases(self, ref: AdapterRef) -> list[AliasInfo]:
        """The adapter's aliases by name; what the reference has after `@` does not matter. Raises `NotFound`."""
        with self._db.read() as session:
            adapter = require_adapter(session, ref)
            names = _version_names(session, adapter)
            splits = session.scalars(select(Split).where(Split.adapter_id == adapter.id, Split.ended_at_ms.is_(None)))
            arms = {split.alias: {names[arm[0]]: arm[1] for arm in split.arms} for split in splits}
            rows = session.scalars(select(Alias).where(Alias.adapter_id == adapter.id).order_by(Alias.name))
            return [
                AliasInfo(row.name, names[row.version_id], alias_etag(row.etag), arms.get(row.name, {})) for row in rows
            ]

    def history(self, ref: AdapterRef) -> list[AliasMove]:
        """Moves of all the adapter's aliases, oldest first; what the reference has after `@` does not matter."""
        with self._db.read() as session:
            adapter = require_adapter(session, ref)
            names = _version_names(session, adapter)
            query = select(AliasEvent).where(AliasEvent.adapter_id == adapter.id).order_by(AliasEvent.id)
            return [
                AliasMove(
                    row.alias,
                    names[row.from_version_id] if row.from_version_id else None,
                    names[row.to_version_id],
                    row.actor,
                    row.reason,
                    row.at_ms,
                )
                for row in session.scalars(query)
            ]

    def quarantine(self, version_id: int, reason: str, *, by_machine: bool = False) -> None:
        """Keep a version away from every engine, and say why. What a person has said stays a person's word."""
        with self._db.write() as session:
            row = session.get_one(Version, version_id)
            if by_machine and row.quarantined is not None and not row.quarantined_by_machine:
                return
            row.quarantined = reason[:1000]
            row.quarantined_by_machine = by_machine

    def release(self, version_id: int, *, by_machine: bool = False) -> bool:
        """Let engines have the version again, which prove it anew when they load it; False when it was free already.

        The machine ends only what it began.
        """
        with self._db.write() as session:
            row = session.get_one(Version, version_id)
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
        query = select(Adapter, Version).join(Version, Version.adapter_id == Adapter.id)
        query = query.where(Version.quarantined.is_not(None))
        with self._db.read() as session:
            rows = session.execute(query.order_by(Adapter.tenant, Adapter.name, Version.major, Version.minor)).all()
            return [version_info(session, adapter, version) for adapter, version in rows]


def _write_synced(path: Path, data: bytes) -> None:
    """Synced, because a folder that came through a power cut with empty files in it would never be laid out again."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def canonical_config(base_digest: str, facts: Mapping[str, Any], lineage: Mapping[str, Any]) -> bytes:
    """The manifest's config blob: what the adapter is for and where it came from."""
    return canonical_json({"base": base_digest, "facts": facts, "lineage": lineage})


def move_alias(
    session: Session,
    *,
    adapter_id: int,
    alias: str,
    to_version_id: int,
    expected_etag: int,
    actor: str,
    reason: str,
) -> None:
    """Compare-and-swap of an alias, with its line of history, inside the caller's transaction.

    `expected_etag` is 0 for an alias that must not exist yet. Raises `Conflict` when somebody moved it meanwhile.
    """
    row = require_unmoved(session, adapter_id, alias, expected_etag)
    session.add(
        AliasEvent(
            adapter_id=adapter_id,
            alias=alias,
            from_version_id=row.version_id if row else None,
            to_version_id=to_version_id,
            actor=actor,
            reason=reason,
            at_ms=now_ms(),
        )
    )
    if row is None:
        session.add(Alias(adapter_id=adapter_id, name=alias, version_id=to_version_id, etag=1))
    else:
        row.version_id = to_version_id
        row.etag += 1


def require_unmoved(session: Session, adapter_id: int, alias: str, expected_etag: int) -> Alias | None:
    """The alias's row, locked; `None` when it does not exist and `expected_etag` is 0. Raises `Conflict`."""
    row = session.get(Alias, (adapter_id, alias), with_for_update=True)
    if (row.etag if row else 0) != expected_etag:
        raise Conflict(f"alias {alias!r} was moved by somebody else meanwhile; look at it and try again", param="alias")
    return row


def require_adapter(session: Session, ref: AdapterRef) -> Adapter:
    """The adapter's row; raises `NotFound`."""
    row = session.scalars(
        select(Adapter).where(Adapter.tenant == ref.tenant, Adapter.name == ref.adapter)
    ).one_or_none()
    if row is None:
        raise NotFound(
            f"there is no adapter {ref.adapter_name!r}; `switchyard adapters list` shows what there is", param="adapter"
        )
    return row


def require_version(session: Session, adapter: Adapter, ref: AdapterRef) -> Version:
    """The version's row that `ref` names by number or alias; raises `NotFound`."""
    query = select(Version).where(Version.adapter_id == adapter.id)
    if ref.version is not None:
        query = query.where(Version.major == ref.version.major, Version.minor == ref.version.minor)
    else:
        query = query.join(Alias, Alias.version_id == Version.id).where(
            Alias.adapter_id == adapter.id, Alias.name == ref.alias
        )
    row = session.scalars(query).one_or_none()
    if row is None:
        raise NotFound(
            f"there is no {ref}; `switchyard adapters list {ref.tenant}` shows what there is", param="adapter"
        )
    return row


def _version_names(session: Session, adapter: Adapter) -> dict[int, str]:
    query = select(Version.id, Version.major, Version.minor).where(Version.adapter_id == adapter.id)
    return {id_: f"{adapter.tenant}/{adapter.name}@{major}.{minor}" for id_, major, minor in session.execute(query)}


def _get_or_add_adapter(session: Session, tenant: str, name: str) -> Adapter:
    row = session.scalars(select(Adapter).where(Adapter.tenant == tenant, Adapter.name == name)).one_or_none()
    if row is None:
        row = Adapter(tenant=tenant, name=name, created_at_ms=now_ms())
        session.add(row)
        session.flush()
    return row


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


def version_info(session: Session, adapter: Adapter, version: Version) -> VersionInfo:
    """The rows of a version as callers see it."""
    aliases = session.scalars(
        select(Alias.name).where(Alias.adapter_id == adapter.id, Alias.version_id == version.id).order_by(Alias.name)
    )
    return VersionInfo(
        id=version.id,
        tenant=adapter.tenant,
        adapter=adapter.name,
        version=VersionNumber(version.major, version.minor),
        manifest_digest=version.manifest_digest,
        base_digest=version.base_digest,
        facts=version.facts,
        lineage=version.lineage,
        aliases=tuple(aliases),
        shares=_shares(session, version),
        quarantined=version.quarantined,
        quarantined_by_machine=version.quarantined_by_machine,
        proof=proof_of(session, version.manifest_digest),
        created_at_ms=version.created_at_ms,
    )


def _shares(session: Session, version: Version) -> dict[str, float]:
    running = select(Split).where(Split.adapter_id == version.adapter_id, Split.ended_at_ms.is_(None))
    return {
        split.alias: weight / 100
        for split in session.scalars(running.order_by(Split.alias))
        for version_id, weight in split.arms
        if version_id == version.id and weight
    }
