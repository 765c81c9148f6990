"""The catalog: everything that the request path needs to know, read once, never changed, swapped whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.db import Database
from registry.models import Adapter, Alias, ApiKey, BaseModel, CatalogRevision, ModelMap, Split, Tenant, Version


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What a valid key says about its bearer."""

    key_id: str
    tenant: str
    scopes: frozenset[str]
    allow_unknown_fields: bool


@dataclass(frozen=True, slots=True)
class BaseEntry:
    """A base model under its public name."""

    name: str
    digest: str
    created_at_s: int


@dataclass(frozen=True, slots=True)
class VersionEntry:
    """One published version; `name` is what clients see."""

    id: int
    name: str
    tenant: str
    adapter: str
    number: str
    manifest_digest: str
    base_digest: str
    quarantined: str | None
    created_at_s: int


@dataclass(frozen=True, slots=True)
class SplitEntry:
    """An active split: arms in fixed order with their share in 1/10,000."""

    id: int
    salt: bytes
    arms: tuple[tuple[VersionEntry, int], ...]


@dataclass(frozen=True, slots=True)
class AdapterEntry:
    """An adapter with its versions by number, aliases and active splits by alias."""

    versions: Mapping[str, VersionEntry]
    aliases: Mapping[str, VersionEntry]
    splits: Mapping[str, SplitEntry]


@dataclass(frozen=True, slots=True)
class Catalog:
    """One revision of it all. Keys are looked up by the 32 bytes of SHA-256 of their secret."""

    revision: int
    keys: Mapping[bytes, KeyEntry]
    adapters: Mapping[tuple[str, str], AdapterEntry]
    adapters_of: Mapping[str, tuple[str, ...]]
    """Tenant → the names of its adapters, sorted."""
    external: Mapping[tuple[str, str], str]
    bases: Mapping[str, BaseEntry]
    """By public name."""
    versions_by_id: Mapping[int, VersionEntry]

    def wanted_versions(self) -> list[VersionEntry]:
        """Versions that an alias or an active split can send traffic to now, without doubles."""
        wanted: dict[int, VersionEntry] = {}
        for adapter in self.adapters.values():
            for version in adapter.aliases.values():
                wanted[version.id] = version
            for split in adapter.splits.values():
                wanted |= {version.id: version for version, weight in split.arms if weight}
        return [version for version in wanted.values() if version.quarantined is None]


def read_catalog(db: Database) -> Catalog:
    """Build the catalog from one consistent read of the database. Blocking: seconds at 10⁵ versions."""
    with db.read() as session:
        revision = session.scalars(select(CatalogRevision.value)).one()
        bases = session.scalars(select(BaseModel)).all()
        adapter_rows = session.scalars(select(Adapter)).all()
        versions = _versions(session, {row.id: row for row in adapter_rows})
        adapters = _adapters(session, adapter_rows, versions)
        return Catalog(
            revision=revision,
            keys=MappingProxyType(_keys(session)),
            adapters=MappingProxyType(adapters),
            adapters_of=MappingProxyType(_by_tenant(adapters)),
            external=MappingProxyType(
                {(row.tenant, row.external): row.target for row in session.scalars(select(ModelMap))}
            ),
            bases=MappingProxyType(
                {row.name: BaseEntry(row.name, row.digest, row.created_at_ms // 1000) for row in bases}
            ),
            versions_by_id=MappingProxyType(versions),
        )


def _keys(session: Session) -> dict[bytes, KeyEntry]:
    rows = session.execute(select(ApiKey, Tenant).join(Tenant, Tenant.name == ApiKey.tenant))
    return {
        bytes.fromhex(key.sha256): KeyEntry(key.id, key.tenant, frozenset(key.scopes), tenant.allow_unknown_fields)
        for key, tenant in rows
        if key.revoked_at_ms is None
    }


def _versions(session: Session, adapters: Mapping[int, Adapter]) -> dict[int, VersionEntry]:
    entries = {}
    for row in session.scalars(select(Version)):
        adapter = adapters[row.adapter_id]
        number = f"{row.major}.{row.minor}"
        entries[row.id] = VersionEntry(
            id=row.id,
            name=f"{adapter.tenant}/{adapter.name}@{number}",
            tenant=adapter.tenant,
            adapter=adapter.name,
            number=number,
            manifest_digest=row.manifest_digest,
            base_digest=row.base_digest,
            quarantined=row.quarantined,
            created_at_s=row.created_at_ms // 1000,
        )
    return entries


def _adapters(session: Session, rows: Any, versions: Mapping[int, VersionEntry]) -> dict[tuple[str, str], AdapterEntry]:
    names = {row.id: (row.tenant, row.name) for row in rows}
    by_number: dict[tuple[str, str], dict[str, VersionEntry]] = {name: {} for name in names.values()}
    aliases: dict[tuple[str, str], dict[str, VersionEntry]] = {name: {} for name in names.values()}
    splits: dict[tuple[str, str], dict[str, SplitEntry]] = {name: {} for name in names.values()}
    for version in versions.values():
        by_number[version.tenant, version.adapter][version.number] = version
    for alias in session.scalars(select(Alias)):
        aliases[names[alias.adapter_id]][alias.name] = versions[alias.version_id]
    for split in session.scalars(select(Split).where(Split.ended_at_ms.is_(None))):
        arms = tuple((versions[version_id], weight) for version_id, weight in split.arms)
        if any(version.quarantined for version, _ in arms):
            continue  # the alias's own version takes all of the traffic
        splits[names[split.adapter_id]][split.alias] = SplitEntry(split.id, split.salt.encode(), arms)
    return {
        name: AdapterEntry(
            MappingProxyType(by_number[name]), MappingProxyType(aliases[name]), MappingProxyType(splits[name])
        )
        for name in names.values()
    }


def _by_tenant(adapters: Mapping[tuple[str, str], AdapterEntry]) -> dict[str, tuple[str, ...]]:
    grouped: dict[str, list[str]] = {}
    for tenant, name in sorted(adapters):
        grouped.setdefault(tenant, []).append(name)
    return {tenant: tuple(names) for tenant, names in grouped.items()}
