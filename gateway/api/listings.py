"""All models of a key as one document: made once for what it can call, in bytes, beside the event loop when it is long.

A tenant may have thousands of names, and whoever lists them again and again gets the same bytes again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import orjson

from gateway.api.cards import Card, Cards, Skills
from gateway.desk import LARGE_BYTES, Desk
from gateway.fleet.view import FleetView
from gateway.handoffs import Principal
from registry.catalog.snapshot import Catalog

CARD_BYTES = 600
"""About, of one."""
A_FEW = 32
"""Cards that are made before others get the interpreter."""
MOST_BYTES = 64 << 20
"""Of all that are kept; the newest is in any case."""
KEPT_S = 300.0
"""Without being asked for."""


@dataclass(slots=True)
class Listing:
    """What one key can call, as long as none of it changes."""

    document: bytes
    """In OpenAI's form."""
    places: Mapping[str, int]
    """Name → its place in the list, in its order."""
    catalog: Catalog
    skills: bytes
    asked_s: float = field(default_factory=time.monotonic)


class _Kind(NamedTuple):
    """What decides what a key can call: keys that are alike in it have one list."""

    tenant: str
    scopes: frozenset[str]
    adapters: frozenset[str] | None


class Listings:
    """Of one process."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._by_key: dict[_Kind, Listing] = {}

    async def of(self, principal: Principal, catalog: Catalog, view: FleetView) -> Listing:
        """All that a key can call now."""
        skills = _skills_of(catalog, view)
        found = self._known(principal, catalog, skills)
        if found is None:
            adapters, others = catalog.adapters_of.get(principal.tenant, ()), len(catalog.bases)
            about = CARD_BYTES * (3 * len(adapters) + len(catalog.external_of.get(principal.tenant, ())) + others)
            work = partial(self._make, principal, catalog, view, skills, alone=about < LARGE_BYTES)
            found = await self._desk.do(principal.tenant, about, work)
            self._keep(principal, found)
        found.asked_s = time.monotonic()
        return found

    def _known(self, principal: Principal, catalog: Catalog, skills: bytes) -> Listing | None:
        found = self._by_key.get(_kind_of(principal))
        if found is None or found.skills != skills:
            return None
        old = found.catalog
        same = old.adapters is catalog.adapters and old.external is catalog.external and old.bases is catalog.bases
        return found if same else None

    def _make(self, principal: Principal, catalog: Catalog, view: FleetView, skills: bytes, *, alone: bool) -> Listing:
        """Another request may have had it made meanwhile, and what has changed may be another tenant's."""
        found = self._by_key.get(_kind_of(principal))
        if (
            found is not None
            and found.skills == skills
            and _of_tenant_is_same(principal.tenant, found.catalog, catalog)
        ):
            return Listing(found.document, found.places, catalog, skills)
        cards = Cards(principal, catalog, view).all()
        places: dict[str, int] = {}
        written = []
        for card in cards if alone else _giving_way(cards):
            places[card["id"]] = len(places)
            written.append(orjson.dumps(card))
        return Listing(b'{"object":"list","data":[%b]}' % b",".join(written), places, catalog, skills)

    def _keep(self, principal: Principal, listing: Listing) -> None:
        """The newest last, and no more than there is room for."""
        key, now_s = _kind_of(principal), time.monotonic()
        self._by_key.pop(key, None)
        kept = {one: its for one, its in self._by_key.items() if its.asked_s > now_s - KEPT_S}
        room = MOST_BYTES - len(listing.document)
        for one in reversed([*kept]):
            room -= len(kept[one].document)
            if room < 0:
                del kept[one]
        self._by_key = {**kept, key: listing}


def _kind_of(principal: Principal) -> _Kind:
    return _Kind(principal.tenant, principal.scopes, principal.adapters)


def _giving_way(cards: Iterator[Card]) -> Iterator[Card]:
    for number, card in enumerate(cards):
        if number % A_FEW == 0:
            time.sleep(0)  # else the event loop would have to ask for the interpreter, which takes milliseconds
        yield card


def _skills_of(catalog: Catalog, view: FleetView) -> bytes:
    """What engines can do now, of all bases: cards tell of it."""
    skills = Skills(view)
    return orjson.dumps([(base.name, skills.of(base.digest)) for base in catalog.bases.values()])


def _of_tenant_is_same(tenant: str, old: Catalog, new: Catalog) -> bool:
    """Whether all that stands in cards is as it was."""
    names, external = new.adapters_of.get(tenant, ()), new.external_of.get(tenant, ())
    return (
        old.bases is new.bases
        and names == old.adapters_of.get(tenant, ())
        and external == old.external_of.get(tenant, ())
        and all(new.adapters[tenant, name] is old.adapters[tenant, name] for name in names)
        and all(new.external[tenant, name] == old.external[tenant, name] for name in external)
    )
