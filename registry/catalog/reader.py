"""Reads the catalog: whole the first time, and later only what changed since the revision in force.

Both ways are the same functions; they differ in the names that they ask for. Statements are built once, because
building one takes as long as sending it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from sys import intern
from types import MappingProxyType
from typing import Any, TypeVar

from sqlalchemy import BindParameter, ColumnElement, Connection, Select, bindparam, select, tuple_

from registry.adapters.rows import Adapter, Alias, Version
from registry.bases.rows import BaseModel
from registry.bases.store import longest_rendering, tokens_of
from registry.catalog.changes import ADAPTER, BASE, KEY, LIMIT, MODEL_MAP, OPERATOR, TARIFF, TENANT
from registry.catalog.policies import policy_of
from registry.catalog.snapshot import (
    EMPTY,
    NOTHING,
    AdapterEntry,
    BaseEntry,
    Catalog,
    KeyEntry,
    LimitEntry,
    News,
    OperatorEntry,
    ShadowEntry,
    SplitArm,
    SplitEntry,
    TariffEntry,
    VersionEntry,
)
from registry.db import Database
from registry.experiments.rows import Experiment
from registry.limits.rows import Limit
from registry.operators.rows import OperatorKey
from registry.outcomes.forms import AnswerChecks
from registry.prices.rows import Tariff
from registry.shadows.rows import Shadow
from registry.splits.ranges import FULL_WEIGHT, ranges_of
from registry.splits.rows import BASE as BASE_AS_ARM
from registry.splits.rows import Split
from registry.tables import CatalogChange, CatalogRevision
from registry.tenants.rows import ApiKey, ModelMap, Tenant
from registry.tenants.store import of_a_tenant

MOST_CHANGES = 2_000
"""More changes than these are not asked for by name; everything is read instead."""

V = TypeVar("V")
Owner = tuple[str, str]
"""Tenant and name of an adapter."""
Names = Collection[str] | None
"""Keys of changes of one kind; `None` stands for everything that there is."""
EVERYTHING: Mapping[str, Names] = dict.fromkeys((KEY, TENANT, ADAPTER, MODEL_MAP, BASE, TARIFF, LIMIT, OPERATOR))
NAMES: BindParameter[Any] = bindparam("names", expanding=True)
TENANTS: BindParameter[Any] = bindparam("tenants", expanding=True)


class Query:
    """Rows of one kind: all of them, or those that meet a condition with the parameter `names`."""

    def __init__(self, whole: Select[*tuple[Any, ...]], named: ColumnElement[bool]) -> None:
        self._whole = whole
        self._named = whole.where(named)

    def rows(self, connection: Connection, names: Collection[Any] | None, **more: Any) -> Iterable[Any]:
        """Those of these names; `None` asks for all. `more` are the condition's other parameters."""
        if names is None:
            return connection.execute(self._whole)
        return connection.execute(self._named, {"names": list(names), **more})


REVISION = select(CatalogRevision.value)
CHANGES = (
    select(CatalogChange.revision, CatalogChange.kind, CatalogChange.key)
    .where(CatalogChange.revision > bindparam("since"))
    .limit(MOST_CHANGES + 1)
)
KEYS = Query(
    select(
        ApiKey.id,
        ApiKey.tenant,
        ApiKey.sha256,
        ApiKey.scopes,
        ApiKey.revoked_at_ms,
        Tenant.allow_unknown_fields,
        Tenant.response_days,
        Tenant.max_stored_records,
        Tenant.max_stored_bytes,
        Tenant.shadow_consent,
        ApiKey.expires_at_ms,
        Tenant.weight,
        ApiKey.adapters,
    ).join(Tenant, Tenant.name == ApiKey.tenant),
    ApiKey.sha256.in_(NAMES) | ApiKey.tenant.in_(TENANTS),
)
EXTERNAL = Query(
    select(ModelMap.tenant, ModelMap.external, ModelMap.target), tuple_(ModelMap.tenant, ModelMap.external).in_(NAMES)
)
BASES = Query(
    select(BaseModel.name, BaseModel.digest, BaseModel.created_at_ms, BaseModel.spec), BaseModel.name.in_(NAMES)
)
BASE_NAME = select(BaseModel.name).where(BaseModel.digest == bindparam("digest"))
ADAPTERS = Query(
    select(Adapter.id, Adapter.tenant, Adapter.name, Adapter.answer_checks).where(of_a_tenant(Adapter.tenant)),
    tuple_(Adapter.tenant, Adapter.name).in_(NAMES),
)
VERSIONS = Query(
    select(
        Version.id,
        Version.adapter_id,
        Version.major,
        Version.minor,
        Version.manifest_digest,
        Version.base_digest,
        Version.quarantined,
        Version.created_at_ms,
    ).order_by(Version.id),
    Version.adapter_id.in_(NAMES),
)
ALIASES = Query(select(Alias.adapter_id, Alias.name, Alias.version_id), Alias.adapter_id.in_(NAMES))
SPLITS = Query(
    select(
        Split.id,
        Split.adapter_id,
        Split.alias,
        Split.salt,
        Split.arms,
        Split.ranges,
        Experiment.id,
        Experiment.name,
        Experiment.plan,
    )
    .outerjoin(Experiment, Experiment.id == Split.experiment_id)
    .where(Split.ended_at_ms.is_(None)),
    Split.adapter_id.in_(NAMES),
)
SHADOWS = Query(
    select(Shadow.id, Shadow.adapter_id, Shadow.alias, Shadow.version_id, Shadow.share, Shadow.until_ms).where(
        Shadow.ended_at_ms.is_(None)
    ),
    Shadow.adapter_id.in_(NAMES),
)
TARIFFS = Query(
    select(
        Tariff.scope,
        Tariff.effective_from_ms,
        Tariff.input_nano_per_mtok,
        Tariff.cached_input_nano_per_mtok,
        Tariff.output_nano_per_mtok,
    ).order_by(Tariff.id.desc()),
    Tariff.scope.in_(NAMES),
)
LIMITS = Query(
    select(
        Limit.scope,
        Limit.requests_per_minute,
        Limit.tokens_per_minute,
        Limit.concurrency,
        Limit.daily_nano,
        Limit.monthly_nano,
        Limit.daily_tokens,
        Limit.monthly_tokens,
        Limit.warn_percent,
    ),
    Limit.scope.in_(NAMES),
)

OPERATORS = Query(
    select(
        OperatorKey.sha256,
        OperatorKey.revoked_at_ms,
        OperatorKey.id,
        OperatorKey.name,
        OperatorKey.role,
        OperatorKey.expires_at_ms,
    ),
    OperatorKey.sha256.in_(NAMES),
)


def read_catalog(db: Database) -> Catalog:
    """The newest catalog, from one consistent read of everything. Blocking: half a second at 10,000 adapters."""
    return update_catalog(db, EMPTY)


def update_catalog(db: Database, known: Catalog) -> Catalog:
    """The newest catalog, from one consistent read of what changed since `known`; `known` itself if nothing did.

    Reads everything when the registry does not have all of the changes since `known`. Blocking: milliseconds.
    """
    with db.read() as session:
        connection = session.connection()
        revision: int = connection.execute(REVISION).scalar_one()
        if revision == known.revision:
            return known
        names = _changed(connection, known.revision, revision)
        if names is None:
            return EMPTY.updated(revision, _read(connection, EVERYTHING))
        return known.updated(revision, _read(connection, names))


def _changed(connection: Connection, since: int, until: int) -> Mapping[str, Names] | None:
    """Names by kind of what the revisions after `since` changed; `None` when one of them is not there (any more)."""
    rows = connection.execute(CHANGES, {"since": since}).all()
    if len(rows) > MOST_CHANGES or len({revision for revision, _, _ in rows}) != until - since:
        return None
    names: dict[str, set[str]] = {}
    for _, kind, key in rows:
        names.setdefault(kind, set()).add(key)
    return names


def _read(connection: Connection, names: Mapping[str, Names]) -> News:
    news = News()
    if KEY in names or TENANT in names:
        news.keys = _keys(connection, names.get(KEY, ()), names.get(TENANT, ()))
    if ADAPTER in names:
        news.adapters = _adapters(connection, _pairs(names[ADAPTER]))
    if MODEL_MAP in names:
        news.external = _external(connection, _pairs(names[MODEL_MAP]))
    if BASE in names:
        news.bases = _bases(connection, names[BASE])
    if TARIFF in names:
        news.tariffs = _tariffs(connection, names[TARIFF])
    if LIMIT in names:
        news.limits = _limits(connection, names[LIMIT])
    if OPERATOR in names:
        news.operators = _operators(connection, names[OPERATOR])
    return news


def _keys(connection: Connection, hashes: Names, tenants: Names) -> dict[bytes, KeyEntry | None]:
    found: dict[bytes, KeyEntry | None] = {bytes.fromhex(text): None for text in hashes or ()}
    rows = KEYS.rows(connection, hashes, tenants=list(tenants or ()))
    for key_id, tenant, sha256, scopes, revoked_at_ms, *settings, adapters in rows:
        entry = KeyEntry(key_id, intern(tenant), _scopes(*scopes), *(*settings, _names_in(adapters)))
        found[bytes.fromhex(sha256)] = entry if revoked_at_ms is None else None
    return found


def _names_in(adapters: Collection[str] | None) -> frozenset[str] | None:
    """Without the tenant's."""
    return None if adapters is None else frozenset(name.partition("/")[2] for name in adapters)


@cache
def _scopes(*scopes: str) -> frozenset[str]:
    return frozenset(scopes)


def _external(connection: Connection, names: Collection[Owner] | None) -> dict[tuple[str, str], str | None]:
    found: dict[tuple[str, str], str | None] = dict.fromkeys(names or ())
    rows = EXTERNAL.rows(connection, names)
    return found | {(intern(tenant), external): target for tenant, external, target in rows}


def _bases(connection: Connection, names: Names) -> dict[str, BaseEntry | None]:
    found: dict[str, BaseEntry | None] = dict.fromkeys(names or ())
    rows = BASES.rows(connection, names)
    return found | {
        name: BaseEntry(name, digest, at_ms // 1000, longest_rendering(spec), tokens_of(spec))
        for name, digest, at_ms, spec in rows
    }


def _tariffs(connection: Connection, names: Names) -> dict[str, tuple[TariffEntry, ...] | None]:
    found: dict[str, tuple[TariffEntry, ...] | None] = dict.fromkeys(names or ())
    for scope, *price in TARIFFS.rows(connection, names):
        newer, entry = found.get(scope) or (), TariffEntry(*price)
        if not newer or entry.effective_from_ms < newer[-1].effective_from_ms:  # else it was replaced
            found[scope] = (*newer, entry)
    return found


def _limits(connection: Connection, names: Names) -> dict[str, LimitEntry | None]:
    found: dict[str, LimitEntry | None] = dict.fromkeys(names or ())
    return found | {scope: LimitEntry(*most) for scope, *most in LIMITS.rows(connection, names)}


def _operators(connection: Connection, hashes: Names) -> dict[bytes, OperatorEntry | None]:
    found: dict[bytes, OperatorEntry | None] = {}
    for sha256, revoked_at_ms, *said in OPERATORS.rows(connection, hashes):
        found[bytes.fromhex(sha256)] = OperatorEntry(*said) if revoked_at_ms is None else None
    return found


def _adapters(connection: Connection, names: Collection[Owner] | None) -> dict[Owner, AdapterEntry | None]:
    found: dict[Owner, AdapterEntry | None] = dict.fromkeys(names or ())
    owners: dict[int, Owner] = {}
    checks: dict[Owner, AnswerChecks | None] = {}
    for adapter_id, tenant, name, document in ADAPTERS.rows(connection, names):
        owner = owners[adapter_id] = intern(tenant), name
        checks[owner] = AnswerChecks.of(document)
    ids = None if names is None else list(owners)
    versions = {version.id: version for version in _versions(connection, owners, ids)}
    by_number: dict[Owner, dict[str, VersionEntry]] = {}
    for version in versions.values():
        by_number.setdefault((version.tenant, version.adapter), {})[version.number] = version
    aliases: dict[Owner, dict[str, VersionEntry]] = {}
    for adapter_id, alias, version_id in _owned(owners, ALIASES.rows(connection, ids), 0):
        aliases.setdefault(owners[adapter_id], {})[intern(alias)] = versions[version_id]
    splits = _splits(connection, owners, ids, versions, aliases)
    shadows: dict[Owner, dict[str, ShadowEntry]] = {}
    for shadow_id, adapter_id, alias, version_id, share, until_ms in _owned(owners, SHADOWS.rows(connection, ids), 1):
        entry = ShadowEntry(shadow_id, versions[version_id], share, until_ms)
        shadows.setdefault(owners[adapter_id], {})[intern(alias)] = entry
    for owner in owners.values():
        found[owner] = AdapterEntry(
            _frozen(by_number.get(owner)),
            _frozen(aliases.get(owner)),
            _frozen(splits.get(owner)),
            _frozen(shadows.get(owner)),
            checks[owner],
        )
    return found


def _splits(
    connection: Connection,
    owners: Mapping[int, Owner],
    ids: Collection[int] | None,
    versions: Mapping[int, VersionEntry],
    aliases: Mapping[Owner, Mapping[str, VersionEntry]],
) -> dict[Owner, dict[str, SplitEntry]]:
    """By owner and alias. One with a version that no engine may have is left out: the alias's own takes all of it."""
    found: dict[Owner, dict[str, SplitEntry]] = {}
    rows = _owned(owners, SPLITS.rows(connection, ids), 1)
    for split_id, adapter_id, alias, salt, weights, stored, of, name, plan in rows:
        owner = owners[adapter_id]
        arms = {
            arm: _arm(connection, versions.get(arm), aliases[owner][alias].base_digest, weight)
            for arm, weight in weights
        }
        ranges = tuple((until, arms[arm]) for until, arm in ranges_of(weights, stored))
        if not any(arm.version is not None and arm.version.quarantined for arm in arms.values()):
            by_name = {arm.name: arm for arm in arms.values()}
            policy = None if of is None else policy_of(of, name, plan, adapter_id, by_name)
            entry = SplitEntry(split_id, salt.encode(), tuple(arms.values()), ranges, policy)
            found.setdefault(owner, {})[intern(alias)] = entry
    return found


def _arm(connection: Connection, version: VersionEntry | None, base_digest: str, weight: int) -> SplitArm:
    share = weight / FULL_WEIGHT
    if version is not None:
        return SplitArm(version.number, weight, share, version.name, version.base_digest, version)
    name = connection.execute(BASE_NAME, {"digest": base_digest}).scalar_one()
    return SplitArm(BASE_AS_ARM, weight, share, name, base_digest, None)


def _versions(
    connection: Connection, owners: Mapping[int, Owner], ids: Collection[int] | None
) -> Iterator[VersionEntry]:
    rows = _owned(owners, VERSIONS.rows(connection, ids), 1)
    for version_id, adapter_id, major, minor, manifest, base, quarantined, at_ms in rows:
        tenant, adapter = owners[adapter_id]
        number = intern(f"{major}.{minor}")
        yield VersionEntry(
            id=version_id,
            name=f"{tenant}/{adapter}@{number}",
            tenant=tenant,
            adapter=adapter,
            number=number,
            manifest_digest=manifest,
            base_digest=intern(base),
            quarantined=quarantined,
            created_at_s=at_ms // 1000,
            adapter_id=adapter_id,
        )


def _owned(owners: Mapping[int, Owner], rows: Iterable[Any], adapter_id: int) -> Iterable[Any]:
    """The rows with an owner: who reads everything finds those of deleted tenants too. `adapter_id`: its column."""
    return (row for row in rows if row[adapter_id] in owners)


def _pairs(names: Names) -> list[Owner] | None:
    """`tenant/name` in two; a tenant's name has no slash, what follows it may have."""
    if names is None:
        return None
    return [(intern(tenant), rest) for tenant, _, rest in (name.partition("/") for name in names)]


def _frozen(mapping: dict[str, V] | None) -> Mapping[str, V]:
    return MappingProxyType(mapping) if mapping else NOTHING
