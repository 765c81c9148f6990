"""Rows of adapters and their versions: found by reference, and as callers see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.proofs import ProofInfo, proof_of
from registry.adapters.rows import Adapter, Alias, Version
from registry.errors import NotFound
from registry.names import AdapterRef, VersionNumber
from registry.splits.rows import Split
from registry.tenants.store import of_a_tenant


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


def require_adapter(session: Session, ref: AdapterRef) -> Adapter:
    """The adapter's row; raises `NotFound`."""
    row = session.scalars(
        select(Adapter).where(Adapter.tenant == ref.tenant, Adapter.name == ref.adapter, of_a_tenant(Adapter.tenant))
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


def version_names(session: Session, adapter: Adapter) -> dict[int, str]:
    """`tenant/adapter@MAJOR.MINOR` of each of its versions, by id."""
    query = select(Version.id, Version.major, Version.minor).where(Version.adapter_id == adapter.id)
    return {id_: f"{adapter.tenant}/{adapter.name}@{major}.{minor}" for id_, major, minor in session.execute(query)}


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
