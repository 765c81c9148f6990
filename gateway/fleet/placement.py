"""Which versions should lie on which engines: their homes, what to load next, what to give up."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice

from gateway.engines.kinds import base_of_adapters
from gateway.engines.managed import ManagedEngine
from gateway.fleet.demand import Demand
from gateway.fleet.eviction import Claims
from gateway.fleet.homes import Homes
from gateway.fleet.hub import Hub
from gateway.fleet.loading import Loading, Proof
from registry.catalog.snapshot import Catalog, VersionEntry

MOST_LOOKED_AT = 500
"""Of the versions that nobody has asked for, at once: a tenant may have thousands, and everybody waits meanwhile.
The next look goes on where this one ended.
"""
DELETED_S = 5.0
"""After which a version that nobody uses is given up when the catalog has it no more; a worker's may be newer."""


class Placement:
    """Of one controller's term. `kept` gives version ids that a swap brings in, which are not given up."""

    def __init__(
        self,
        engines: Sequence[ManagedEngine],
        catalog: Callable[[], Catalog],
        hub: Hub,
        loading: Loading,
        kept: Callable[[], Collection[int]],
        *,
        requests_per_home: float,
        retire_after_s: float,
    ) -> None:
        self.demand = Demand(requests_per_home)
        self._engines = engines
        self._catalog = catalog
        self._hub = hub
        self._loading = loading
        self._kept = kept
        self._retire_after_s = retire_after_s
        self._homes = Homes({})
        self._looked_at = 0
        """Where among the versions that nobody has asked for the next look begins."""
        self._observed_s = time.monotonic()

    def homes_of(self, version: VersionEntry) -> list[ManagedEngine]:
        """Engines that take traffic and that the version lives on, the first home first."""
        return self._homes_among(self._able(), version)

    def observe_demand(self) -> None:
        """Take in what was asked for since the last call."""
        now = time.monotonic()
        elapsed_s, self._observed_s = now - self._observed_s, now
        uses, self._hub.uses = self._hub.uses, {}
        rates, self._hub.rates = self._hub.rates, {}
        in_flight: dict[int, int] = {}
        for engine in self._engines:
            for version_id, entry in engine.residency.resident.items():
                if number := self._hub.asked(engine.url, entry.name):
                    in_flight[version_id] = in_flight.get(version_id, 0) + number
        self.demand.observe(uses, in_flight, max(elapsed_s, 0.001))
        self.demand.take_over(rates)

    def preload(self) -> None:
        """Begin loading what has traffic, then what an alias or a split points at, then what gets copies of requests,
        on its homes while there is room.

        One load an engine, so that a request never waits behind more than one that nobody asked for; the end of a load
        calls for the next.
        """
        able = self._able()
        room = {
            url: places
            for url, engine in able.items()
            if not self._loading.running_on(url)
            and ((places := engine.residency.places_left()) > 0 or engine.residency.adoptable)
        }
        bases = {base_of_adapters(able[url].declared) for url, places in room.items() if places > 0}
        there = {version_id for url in room for version_id in able[url].residency.adoptable}
        for version in self._by_heat(self._catalog()) if room else ():
            if version.base_digest not in bases and version.id not in there:
                continue
            for engine in self._homes_among(able, version):
                held = engine.residency
                fits = room.get(engine.url, 0) > 0 or (engine.url in room and version.id in held.adoptable)
                if fits and version.id not in held.resident and self._loading.may_preload(engine, version):
                    del room[engine.url]
                    self._loading.start(engine, version, for_swap=False, proof=Proof.IF_FREE)
            if not room:
                return

    def retire_unwanted(self) -> None:
        """Give up what nothing points at and nobody uses, soon where it is in no catalog any more, and what is in
        quarantine. What was known of what has gone is forgotten.
        """
        catalog = self._catalog()
        kept = {*catalog.wanted, *catalog.shadowed, *self._kept()}
        now = time.monotonic()
        for engine in self._engines:
            for version_id, entry in list(engine.residency.resident.items()):
                idle_since = self._hub.last_used_s.setdefault((engine.url, version_id), now)
                known = catalog.versions_by_id.get(version_id)
                after_s = self._retire_after_s if known is not None else min(DELETED_S, self._retire_after_s)
                idle = now - idle_since > after_s and not self._hub.count(engine.url, entry.name)
                if (version_id not in kept and idle) or (known is not None and known.quarantined is not None):
                    self._loading.retire(engine, version_id)
        there = {engine.url: engine.residency.has for engine in self._engines}
        self._hub.keep_what_is(there)
        self._loading.keep_what_is(there)

    def _able(self) -> dict[str, ManagedEngine]:
        return {engine.url: engine for engine in self._engines if engine.health.serves and not engine.health.drained}

    def _homes_among(self, able: Mapping[str, ManagedEngine], version: VersionEntry) -> list[ManagedEngine]:
        """As many as it has copies, of those that generate and of the others each: a request of either kind must find
        it at home.
        """
        order = [
            able[url]
            for url in self._order_of_homes(able).order(version.name)
            if base_of_adapters(able[url].declared) == version.base_digest and able[url].bars.reason(version.id) is None
        ]
        copies = self.demand.copies.get(version.id, 1)
        generating = [engine for engine in order if engine.profile.generates]
        return generating[:copies] + [engine for engine in order if not engine.profile.generates][:copies]

    def _by_heat(self, catalog: Catalog) -> Iterable[VersionEntry]:
        """What is asked for most comes first; then what nobody has asked for, if an alias points at it; last what gets
        copies of requests alone.
        """
        hot = [
            version
            for version_id in self.demand.hottest()
            if (version := catalog.versions_by_id.get(version_id)) is not None and version.quarantined is None
        ]
        yield from hot
        seen = {version.id for version in hot}
        yield from (version for version in self._some_of(catalog.wanted_versions()) if version.id not in seen)
        yield from (version for version in catalog.shadowed.values() if version.id not in seen | catalog.wanted.keys())

    def _some_of(self, wanted: Collection[VersionEntry]) -> Iterable[VersionEntry]:
        """As many as are looked at, in their turn."""
        begin, number = self._looked_at % max(1, len(wanted)), min(MOST_LOOKED_AT, len(wanted))
        self._looked_at = begin + number
        yield from islice(wanted, begin, begin + number)
        yield from islice(wanted, max(0, begin + number - len(wanted)))

    def _order_of_homes(self, able: Mapping[str, ManagedEngine]) -> Homes:
        weights = {url: engine.declared.places for url, engine in able.items()}
        if not self._homes.same_as(weights):
            self._homes = Homes(weights)
        return self._homes


def claims_in(catalog: Callable[[], Catalog], kept: Callable[[], Collection[int]]) -> Claims:
    """What the catalog in force says of versions. Those that get nothing but copies of requests are spare, unless
    somebody asks for one by its number; those that the catalog has no more are nobody's.
    """

    def spare() -> Collection[int]:
        now = catalog()
        return now.shadowed.keys() - now.wanted.keys()

    def tenant_of(version_id: int) -> str:
        version = catalog().versions_by_id.get(version_id)
        return "" if version is None else version.tenant

    return Claims(kept, spare, tenant_of, lambda: len(catalog().adapters_of))
