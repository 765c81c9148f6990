"""The catalog: everything that the request path needs to know, in one object that never changes.

A newer catalog is made from an older one and shares with it whatever is the same. Nothing in here reads a database;
`registry.catalog.reader` does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from registry.bases.token_bound import UNKNOWN, TokenBound
from registry.outcomes.forms import AnswerChecks

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What a valid key says about its bearer."""

    key_id: str
    tenant: str
    scopes: frozenset[str]
    allow_unknown_fields: bool
    response_days: int | None = None
    """How long the tenant's responses are kept; 0: never stored; `None`: as long as the gateway's setting."""
    max_stored_records: int | None = None
    """Most responses, conversations and items that are kept for the tenant; `None`: as the gateway's setting."""
    max_stored_bytes: int | None = None
    """Likewise, their bytes."""
    shadow_consent: bool = False
    """Whether the tenant's requests may be copied to a candidate version."""
    expires_at_ms: int | None = None
    """From then on the key opens nothing; `None`: it has no end."""
    weight: int = 1
    """The tenant's share of engines that are full, beside that of others."""
    adapters: frozenset[str] | None = None
    """Names of the tenant's adapters that it opens; `None`: all."""


@dataclass(frozen=True, slots=True)
class OperatorEntry:
    """What a key of an operator says about its bearer, unless it is over."""

    key_id: str
    name: str
    role: Literal["read", "operate"]
    expires_at_ms: int | None
    """From then on it opens nothing; `None`: it has no end."""


@dataclass(frozen=True, slots=True)
class BaseEntry:
    """A base model under its public name."""

    name: str
    digest: str
    created_at_s: int
    template_tokens: int = 0
    """Of the longest known rendering of its chat template: a short conversation has no more. 0: none is known."""
    tokens: TokenBound = UNKNOWN
    """How many its tokenizer makes of a text at most."""


@dataclass(frozen=True, slots=True)
class TariffEntry:
    """A price from an instant on, in nano-dollars per million tokens."""

    effective_from_ms: int
    input_nano_per_mtok: int
    cached_input_nano_per_mtok: int
    output_nano_per_mtok: int


@dataclass(frozen=True, slots=True)
class LimitEntry:
    """What a scope may use: per rolling minute, at once, and per UTC day and month; `None` is no limit.

    When `warn_percent` of a budget is spent, clients and the operator are warned; `None`: nobody is.
    """

    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrency: int | None
    daily_nano: int | None
    monthly_nano: int | None
    daily_tokens: int | None
    monthly_tokens: int | None
    warn_percent: int | None = None


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
    adapter_id: int


@dataclass(frozen=True, slots=True)
class SplitArm:
    """An arm of a split: a version, or the base of the one that the alias points at."""

    name: str
    """`1.1`, or `base`."""
    weight: int
    """Its part of the units, in 1/10,000."""
    share: float
    """The same, 0 to 1."""
    public_name: str
    base_digest: str
    version: VersionEntry | None


@dataclass(frozen=True, slots=True)
class SplitPolicy:
    """What an experiment says of its split: what a unit is, and whose requests are in it."""

    experiment_id: int
    experiment: str
    """Its name."""
    unit: Literal["conversation", "end_user", "request", "window"]
    control: SplitArm
    """What all others get."""
    falls_back: bool
    """Whether the control answers where a treatment cannot be loaded."""
    keys: frozenset[str]
    """Ids of API keys that are in it; empty: all."""
    metadata: tuple[tuple[str, frozenset[str]], ...]
    """Key of a request's metadata, and the values that it may have; all of them must fit."""
    audience: int
    """How many of 10,000 buckets of units are in it, drawn apart from the arms that they get."""
    holdout: tuple[bytes, int]
    """Salt of a hash of units, and in how many of its buckets no experiment of the adapter touches them."""
    for_all: bool
    """Whether the four above leave nobody out."""
    window_ms: int = 0
    """How long a window is, where it is the unit."""


@dataclass(frozen=True, slots=True)
class SplitEntry:
    """An active split: its arms in fixed order."""

    id: int
    salt: bytes
    arms: tuple[SplitArm, ...]
    ranges: tuple[tuple[int, SplitArm], ...]
    """Whose the buckets are: see `registry.splits.ranges`."""
    policy: SplitPolicy | None = None
    """`None`: nobody's, and every request is in it."""


@dataclass(frozen=True, slots=True)
class ShadowEntry:
    """Copies of an alias's requests to a candidate version."""

    id: int
    version: VersionEntry
    share: int
    """Of the requests that are copied, in 1/10,000."""
    until_ms: int


NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class AdapterEntry:
    """An adapter with its versions by number; aliases, active splits and active shadows by alias."""

    versions: Mapping[str, VersionEntry]
    aliases: Mapping[str, VersionEntry]
    splits: Mapping[str, SplitEntry]
    shadows: Mapping[str, ShadowEntry] = field(default_factory=lambda: NOTHING)
    checks: AnswerChecks | None = None
    """What is looked for in its answers."""

    def shadowed(self) -> Iterator[VersionEntry]:
        """Versions that get copies of requests; some of them twice."""
        reached = (shadow.version for shadow in self.shadows.values())
        return (version for version in reached if version.quarantined is None)

    def wanted(self) -> Iterator[VersionEntry]:
        """Versions that an alias or an active split can send traffic to now; some of them twice."""
        reached = [*self.aliases.values()]
        for split in self.splits.values():
            reached += [arm.version for arm in split.arms if arm.weight and arm.version is not None]
        return (version for version in reached if version.quarantined is None)


@dataclass(frozen=True, slots=True)
class Catalog:
    """One revision of it all. Keys are looked up by the 32 bytes of SHA-256 of their secret."""

    revision: int
    keys: MappingProxyType[bytes, KeyEntry]
    adapters: MappingProxyType[tuple[str, str], AdapterEntry]
    adapters_of: MappingProxyType[str, tuple[str, ...]]
    """Tenant → the names of its adapters, sorted."""
    external: MappingProxyType[tuple[str, str], str]
    external_of: MappingProxyType[str, tuple[str, ...]]
    """Tenant → its external names, sorted."""
    bases: MappingProxyType[str, BaseEntry]
    """By public name."""
    versions_by_id: MappingProxyType[int, VersionEntry]
    wanted: MappingProxyType[int, VersionEntry]
    """By id, the versions that an alias or an active split can send traffic to now."""
    shadowed: MappingProxyType[int, VersionEntry]
    """By id, the versions that get copies of requests."""
    tariffs: MappingProxyType[str, tuple[TariffEntry, ...]]
    """By scope (`base:NAME`, `tenant:NAME`, `adapter:tenant/adapter`), the newest price first."""
    limits: MappingProxyType[str, LimitEntry]
    """By scope (`tenant:NAME`, `key:ID`, `adapter:tenant/adapter`)."""
    operators: MappingProxyType[bytes, OperatorEntry]
    """By the hash of their secret, as `keys`."""

    def wanted_versions(self) -> Collection[VersionEntry]:
        """The same as a collection without doubles, in no order; costs nothing."""
        return self.wanted.values()

    def updated(self, revision: int, news: News) -> Catalog:
        """The catalog of a later revision. Costs one copy of each mapping that the news is about."""
        return Catalog(
            revision=revision,
            keys=_merged(self.keys, news.keys),
            adapters=_merged(self.adapters, news.adapters),
            adapters_of=_merged(self.adapters_of, _names_by_tenant(self.adapters_of, news.adapters)),
            external=_merged(self.external, news.external),
            external_of=_merged(self.external_of, _names_by_tenant(self.external_of, news.external)),
            bases=_merged(self.bases, news.bases),
            versions_by_id=_merged(self.versions_by_id, self._by_id(news.adapters, _published)),
            wanted=_merged(self.wanted, self._by_id(news.adapters, AdapterEntry.wanted)),
            shadowed=_merged(self.shadowed, self._by_id(news.adapters, AdapterEntry.shadowed)),
            tariffs=_merged(self.tariffs, news.tariffs),
            limits=_merged(self.limits, news.limits),
            operators=_merged(self.operators, news.operators),
        )

    def _by_id(
        self,
        news: Mapping[tuple[str, str], AdapterEntry | None],
        of: Callable[[AdapterEntry], Iterable[VersionEntry]],
    ) -> dict[int, VersionEntry | None]:
        """Versions `of` these adapters: `None` for those that they had, then those that they have."""
        before = (entry for name in news if (entry := self.adapters.get(name)) is not None)
        found: dict[int, VersionEntry | None] = {version.id: None for entry in before for version in of(entry)}
        now = (entry for entry in news.values() if entry is not None)
        return found | {version.id: version for entry in now for version in of(entry)}


@dataclass(slots=True)
class News:
    """What is now under some names; `None` says that nothing is. Names that are not in here are as they were."""

    keys: dict[bytes, KeyEntry | None] = field(default_factory=dict)
    adapters: dict[tuple[str, str], AdapterEntry | None] = field(default_factory=dict)
    external: dict[tuple[str, str], str | None] = field(default_factory=dict)
    bases: dict[str, BaseEntry | None] = field(default_factory=dict)
    tariffs: dict[str, tuple[TariffEntry, ...] | None] = field(default_factory=dict)
    limits: dict[str, LimitEntry | None] = field(default_factory=dict)
    operators: dict[bytes, OperatorEntry | None] = field(default_factory=dict)


def _published(entry: AdapterEntry) -> Iterable[VersionEntry]:
    return entry.versions.values()


def _names_by_tenant(
    known: Mapping[str, tuple[str, ...]], news: Mapping[tuple[str, str], object | None]
) -> dict[str, tuple[str, ...] | None]:
    """Of the tenants that the news is about; `None`: one has no names any more."""
    names: dict[str, set[str]] = {}
    for (tenant, name), entry in news.items():
        of_tenant = names.setdefault(tenant, set(known.get(tenant, ())))
        of_tenant.discard(name) if entry is None else of_tenant.add(name)
    return {tenant: tuple(sorted(of_tenant)) or None for tenant, of_tenant in names.items()}


def _merged(known: MappingProxyType[K, V], news: Mapping[K, V | None]) -> MappingProxyType[K, V]:
    if not news:
        return known
    merged = known.copy()  # ten times as fast as dict(known)
    for name, value in news.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = value
    return MappingProxyType(merged)


EMPTY = Catalog(
    revision=-1,
    keys=MappingProxyType({}),
    adapters=MappingProxyType({}),
    adapters_of=MappingProxyType({}),
    external=MappingProxyType({}),
    external_of=MappingProxyType({}),
    bases=MappingProxyType({}),
    versions_by_id=MappingProxyType({}),
    wanted=MappingProxyType({}),
    shadowed=MappingProxyType({}),
    tariffs=MappingProxyType({}),
    limits=MappingProxyType({}),
    operators=MappingProxyType({}),
)
"""Before the first revision."""
