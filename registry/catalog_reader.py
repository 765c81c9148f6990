"""Reads the catalog: whole the first time, and later only what changed since the revision in force.

Both ways are the same functions; they differ in the names that they ask for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from sys import intern
from types import MappingProxyType
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, select, true, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from registry.catalog import EMPTY, NOTHING, AdapterEntry, BaseEntry, Catalog, KeyEntry, News, SplitEntry, VersionEntry
from registry.changes import ADAPTER, BASE, KEY, MODEL_MAP, TENANT
from registry.db import Database
from registry.models import (
    Adapter,
    Alias,
    ApiKey,
    BaseModel,
    CatalogChange,
    CatalogRevision,
    ModelMap,
    Split,
    Tenant,
    Version,
)

MOST_CHANGES = 2_000
"""More changes than these are not asked for by name; everything is read instead."""

V = TypeVar("V")
Owner = tuple[str, str]
"""Tenant and name of an adapter."""
Names = Collection[str] | None
Ids = Collection[int] | None
"""Of one kind of thing; `None` stands for everything that there is."""
EVERYTHING: Mapping[str, Names] = dict.fromkeys((KEY, TENANT, ADAPTER, MODEL_MAP, BASE))


def read_catalog(db: Database) -> Catalog:
    """The newest catalog, from one consistent read of everything. Blocking: half a second at 10,000 adapters."""
    return update_catalog(db, EMPTY)


def update_catalog(db: Database, known: Catalog) -> Catalog:
    """The newest catalog, from one consistent read of what changed since `known`; `known` itself if nothing did.

    Reads everything when the registry does not have all of the changes since `known`. Blocking: milliseconds.
    """
    with db.read() as session:
        revision = session.execute(select(CatalogRevision.value)).scalar_one()
        if revision == known.revision:
            return known
        names = _changed(session, known.revision, revision)
        if names is None:
            return EMPTY.updated(revision, _read(session, EVERYTHING))
        return known.updated(revision, _read(session, names))


def _changed(session: Session, since: int, until: int) -> Mapping[str, Names] | None:
    """Names by kind of what the revisions after `since` changed; `None` when one of them is not there (any more)."""
    query = select(CatalogChange.revision, CatalogChange.kind, CatalogChange.key)
    rows = session.execute(query.where(CatalogChange.revision > since).limit(MOST_CHANGES + 1)).all()
    if len(rows) > MOST_CHANGES or len({revision for revision, _, _ in rows}) != until - since:
        return None
    names: dict[str, set[str]] = {}
    for _, kind, key in rows:
        names.setdefault(kind, set()).add(key)
    return names


def _read(session: Session, names: Mapping[str, Names]) -> News:
    news = News()
    if KEY in names or TENANT in names:
        news.keys = _keys(session, names.get(KEY, ()), names.get(TENANT, ()))
    if ADAPTER in names:
        news.adapters = _adapters(session, names[ADAPTER])
    if MODEL_MAP in names:
        news.external = _external(session, names[MODEL_MAP])
    if BASE in names:
        news.bases = _bases(session, names[BASE])
    return news


def _keys(session: Session, hashes: Names, tenants: Names) -> dict[bytes, KeyEntry | None]:
    query = (
        select(
            ApiKey.id, ApiKey.tenant, ApiKey.sha256, ApiKey.scopes, ApiKey.revoked_at_ms, Tenant.allow_unknown_fields
        )
        .join(Tenant, Tenant.name == ApiKey.tenant)
        .where(_among(ApiKey.sha256, hashes) | _among(ApiKey.tenant, tenants))
    )
    found: dict[bytes, KeyEntry | None] = {bytes.fromhex(text): None for text in hashes or ()}
    for key_id, tenant, sha256, scopes, revoked_at_ms, allow_unknown_fields in session.execute(query):
        entry = KeyEntry(key_id, intern(tenant), _scopes(*scopes), allow_unknown_fields)
        found[bytes.fromhex(sha256)] = entry if revoked_at_ms is None else None
    return found


@cache
def _scopes(*scopes: str) -> frozenset[str]:
    return frozenset(scopes)


def _external(session: Session, names: Names) -> dict[tuple[str, str], str | None]:
    pairs = _pairs(names)
    query = select(ModelMap.tenant, ModelMap.external, ModelMap.target).where(
        _among(tuple_(ModelMap.tenant, ModelMap.external), pairs)
    )
    found: dict[tuple[str, str], str | None] = dict.fromkeys(pairs or ())
    return found | {(intern(tenant), external): target for tenant, external, target in session.execute(query)}


def _bases(session: Session, names: Names) -> dict[str, BaseEntry | None]:
    query = select(BaseModel.name, BaseModel.digest, BaseModel.created_at_ms).where(_among(BaseModel.name, names))
    found: dict[str, BaseEntry | None] = dict.fromkeys(names or ())
    return found | {name: BaseEntry(name, digest, at_ms // 1000) for name, digest, at_ms in session.execute(query)}


def _adapters(session: Session, names: Names) -> dict[Owner, AdapterEntry | None]:
    pairs = _pairs(names)
    query = select(Adapter.id, Adapter.tenant, Adapter.name).where(_among(tuple_(Adapter.tenant, Adapter.name), pairs))
    found: dict[Owner, AdapterEntry | None] = dict.fromkeys(pairs or ())
    owners = {adapter_id: (intern(tenant), name) for adapter_id, tenant, name in session.execute(query)}
    only = None if names is None else list(owners)
    versions = _versions(session, owners, only)
    by_number: dict[Owner, dict[str, VersionEntry]] = {}
    for version in versions.values():
        by_number.setdefault((version.tenant, version.adapter), {})[version.number] = version
    aliases: dict[Owner, dict[str, VersionEntry]] = {}
    query_aliases = select(Alias.adapter_id, Alias.name, Alias.version_id).where(_among(Alias.adapter_id, only))
    for adapter_id, alias, version_id in session.execute(query_aliases):
        aliases.setdefault(owners[adapter_id], {})[intern(alias)] = versions[version_id]
    splits = _splits(session, owners, versions, only)
    for owner in owners.values():
        found[owner] = AdapterEntry(
            _frozen(by_number.get(owner)), _frozen(aliases.get(owner)), _frozen(splits.get(owner))
        )
    return found


def _versions(session: Session, owners: Mapping[int, Owner], only: Ids) -> dict[int, VersionEntry]:
    query = (
        select(
            Version.id,
            Version.adapter_id,
            Version.major,
            Version.minor,
            Version.manifest_digest,
            Version.base_digest,
            Version.quarantined,
            Version.created_at_ms,
        )
        .where(_among(Version.adapter_id, only))
        .order_by(Version.id)
    )
    entries = {}
    for version_id, adapter_id, major, minor, manifest, base, quarantined, at_ms in session.execute(query):
        tenant, adapter = owners[adapter_id]
        number = intern(f"{major}.{minor}")
        entries[version_id] = VersionEntry(
            id=version_id,
            name=f"{tenant}/{adapter}@{number}",
            tenant=tenant,
            adapter=adapter,
            number=number,
            manifest_digest=manifest,
            base_digest=intern(base),
            quarantined=quarantined,
            created_at_s=at_ms // 1000,
        )
    return entries


def _splits(
    session: Session, owners: Mapping[int, Owner], versions: Mapping[int, VersionEntry], only: Ids
) -> dict[Owner, dict[str, SplitEntry]]:
    query = select(Split.id, Split.adapter_id, Split.alias, Split.salt, Split.arms).where(
        Split.ended_at_ms.is_(None), _among(Split.adapter_id, only)
    )
    found: dict[Owner, dict[str, SplitEntry]] = {}
    for split_id, adapter_id, alias, salt, weights in session.execute(query):
        arms = tuple((versions[version_id], weight) for version_id, weight in weights)
        if any(version.quarantined for version, _ in arms):
            continue  # the alias's own version takes all of the traffic
        found.setdefault(owners[adapter_id], {})[intern(alias)] = SplitEntry(split_id, salt.encode(), arms)
    return found


def _among(
    column: ColumnElement[Any] | InstrumentedAttribute[Any], only: Collection[Any] | None
) -> ColumnElement[bool]:
    return true() if only is None else column.in_(only)


def _pairs(names: Names) -> list[Owner] | None:
    """`tenant/name` in two; a tenant's name has no slash, what follows it may have."""
    if names is None:
        return None
    return [(intern(tenant), rest) for tenant, _, rest in (name.partition("/") for name in names)]


def _frozen(mapping: dict[str, V] | None) -> Mapping[str, V]:
    return MappingProxyType(mapping) if mapping else NOTHING
