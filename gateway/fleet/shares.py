"""How many of an engine's seats each worker may use.

Workers serve side by side and do not ask each other: the controller tells each its share by what all have reported,
four times a second. While they want less than there is, each may use whatever the others do not, so that nobody waits
while there is room. When they want more, it is divided evenly, and what one wants less the others have; each has an
even part whatever the others use, so that who comes to it waits for no message. What of that is more than the engine
runs at once, the engine has wait:

* Between two reports, n workers that were all idle may begin n times what it runs.
* After that none begins anything above its share, and what the shares are in all is less than twice what it runs.

Tenants share what a worker has, exactly; one that talks to k of n workers shares in k/n of what is full. Each worker
is told, too, which tenants have lately asked for something anywhere: what is kept for them is kept in all workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.engines.managed import ManagedEngine
from gateway.fleet.capacity import MOST, Capacity
from gateway.fleet.hub import WorkerLink
from gateway.fleet.room import UNKNOWN
from gateway.fleet.wire import Shares


def shares(most: int, wants: Mapping[str, int]) -> dict[str, int]:
    """Seats by worker, 1 at least, of an engine that has `most`; `wants` are those that each uses or waits for."""
    part = max(1, most // max(1, len(wants)))
    free = most - sum(wants.values())
    if free >= 0:
        return {worker: max(part, want + free) for worker, want in wants.items()}
    found, left = dict[str, int](), most
    for number, (worker, want) in enumerate(sorted(wants.items(), key=lambda one: one[1])):
        even = left // (len(wants) - number)
        found[worker] = max(part, min(want, even))
        left -= min(want, even)
    return found


class SpreadShares:
    """What each worker was told last. `kept_share` is the part of an engine's seats that workers keep."""

    def __init__(self, kept_share: float = 0.0) -> None:
        self._kept_share = kept_share
        self._told: dict[str, tuple[WorkerLink, Shares]] = {}
        self._capacities: dict[str, Capacity] = {}
        """By the URL of the engine."""

    def spread(self, links: Mapping[str, WorkerLink], engines: Iterable[ManagedEngine]) -> None:
        """Tell every worker whose share has changed."""
        news: dict[str, dict[str, int]] = {worker: {} for worker in links}
        before, self._capacities = self._capacities, {}
        for managed in engines:
            engine, capacity = managed.declared, before.get(managed.declared.url)
            bound, first = engine.max_num_seqs or MOST, engine.max_num_seqs or UNKNOWN
            if capacity is None or (capacity.bound, capacity.first) != (bound, first):
                capacity = Capacity(bound, first, self._kept_share)
            self._capacities[engine.url] = capacity
            most = capacity.take(managed.health.look)
            wants = {
                worker: link.seats.get(engine.url, 0) + link.waiting.get(engine.base_digest, 0)
                for worker, link in links.items()
            }
            for worker, share in shares(most, wants).items():
                news[worker][engine.url] = share
        lately = _lately(links.values()) if len(links) > 1 else {}
        told = {worker: (links[worker], Shares(share, lately)) for worker, share in news.items()}
        for worker, (link, its) in told.items():
            last = self._told.get(worker)
            if last is None or last[0] is not link or last[1] != its:
                link.send(its)
        self._told = told


def _lately(links: Iterable[WorkerLink]) -> dict[str, dict[str, int]]:
    """Base → tenant → weight, as all workers together say."""
    found: dict[str, dict[str, int]] = {}
    for link in links:
        for base, tenant, weight in link.lately:
            found.setdefault(base, {})[tenant] = weight
    return found
