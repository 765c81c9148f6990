"""Whose turn it is when requests wait for engines that are full. Pure: no clock, no loop, nobody's time is measured.

Weighted max-min fairness over tenants: what is free goes to the waiting tenant that has the least for its weight
(progressive filling: Bertsekas and Gallager, Data Networks, 6.5.2; dominant resource fairness of Ghodsi et al., NSDI
2011, with the one resource). So while a tenant waits, nobody has more than one request above what its weight gives it.
Those that have equally little take turns by start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): whoever
begins moves its clock on by 1 / weight, and who comes anew starts at the clock of whoever began last, so that silence
earns no credit. Within a tenant it is first come, first served.

What is shared out is running, and not tokens (virtual token counters: Sheng et al., OSDI 2024): a request that runs
makes a token in each step, so that to run as many as others is to be given as many tokens as they are. What an answer
will need is not known when it begins, and what runs needs no estimate, no refund, and no memory of who is gone.

What runs goes on, and much of it may end at once and begin at once again: then who comes anew waits for all of it,
however fair the next turn is. So some seats of an engine are kept free for tenants that have less than their share of
it (`may_have_kept`), while there is another tenant that has lately asked for something.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from gateway.fleet.lately import Lately

BATCH_PART = 0.1
"""What waits for nobody counts as if its tenant had such a part of its weight: interactive requests go first, and yet
it gets on.
"""


class Asker(NamedTuple):
    """Whose request it is, for whom it counts, and as how much."""

    tenant: str
    weight: int = 1
    batch: bool = False
    """Whether nobody waits for its answer."""
    size: int = 1
    """Answers that the engine makes at once for it."""
    patience_s: float = 300.0
    """How long it waits at most, which is no matter here."""


class Waiting(Protocol):
    """A request that waits."""

    @property
    def asker(self) -> Asker:
        """Whose it is."""

    @property
    def number(self) -> int:
        """Its place in the order in which all came."""

    @property
    def where(self) -> Hashable:
        """What decides which engines can take it: where this is equal, all of one kind can begin or none can."""


W = TypeVar("W", bound=Waiting)


class Standing(NamedTuple):
    """How a tenant stands that waits."""

    tenant: str
    weight: int
    running: int
    waiting: int


def _one_kind(_asker: Asker) -> Hashable:
    return None


def _weight(asker: Asker) -> float:
    return asker.weight * (BATCH_PART if asker.batch else 1.0)


@dataclass(slots=True)
class _Flow(Generic[W]):
    """What waits of a tenant: its interactive requests, or those for whose answers nobody waits."""

    weight: float
    clock: float
    queues: dict[Hashable, deque[W]] = field(default_factory=dict)
    """By `where`: what cannot begin does not hold up what can."""

    def first(self, can_begin: Callable[[W], bool]) -> W | None:
        """Whoever came first of those that can begin."""
        heads = (queue[0] for queue in self.queues.values())
        return min((head for head in heads if can_begin(head)), key=lambda head: head.number, default=None)


class FairShare(Generic[W]):
    """Who waits, and how much each tenant has that runs."""

    def __init__(self) -> None:
        self.running: dict[str, int] = {}
        """By tenant, of those that have something."""
        self.lately = Lately()
        self.waiting = 0
        """Requests that wait."""
        self.wanted = 0
        """Answers that they want at once, one each at least."""
        self._held: defaultdict[str, dict[str, int]] = defaultdict(dict)
        """Engine → tenant → what it has there, where it has something."""
        self._flows: dict[tuple[str, bool], _Flow[W]] = {}
        """Those that wait, and those that have begun more than was their turn since somebody began to wait."""
        self._clock = 0.0

    def begin(self, asker: Asker, engine: str) -> None:
        """A request runs on an engine from now on; who has waited has been taken out by `take`."""
        tenant, weight, batch, size, _ = asker
        running, held = self.running, self._held[engine]
        running[tenant] = running.get(tenant, 0) + size
        held[tenant] = held.get(tenant, 0) + size
        if self.lately.weights.get(tenant) != weight and not batch:
            self.lately.see(tenant, weight)

    def end(self, asker: Asker, engine: str) -> None:
        """It does not run any more."""
        tenant, _, batch, size, _ = asker
        running, held = self.running, self._held[engine]
        if left := held[tenant] - size:
            held[tenant] = left
        else:
            del held[tenant]
        if left := running[tenant] - size:
            running[tenant] = left
        else:
            del running[tenant]
        if not batch:
            self.lately.ended.add(tenant)

    def may_have_kept(self, asker: Asker, engine: str, seats: int) -> bool:
        """Whether it may have what an engine of so many seats keeps for who has less than its share, by its weight
        among the tenants of lately, until the last of its answers has a seat. Who is alone may; what nobody waits for
        may not, and nothing is kept for it.
        """
        if self.is_alone(asker.tenant):
            return True
        others = self.lately.others(asker.tenant)
        before_last = self.held(asker.tenant, engine) + asker.size - 1
        return not asker.batch and before_last * (others + asker.weight) < seats * asker.weight

    def is_alone(self, tenant: str) -> bool:
        """Whether no other tenant has lately asked for something."""
        return not self.lately.others(tenant)

    def held(self, tenant: str, engine: str) -> int:
        """What a tenant has on an engine."""
        return self._held[engine].get(tenant, 0)

    def rank(self, asker: Asker) -> float:
        """What its tenant has that runs, for its weight: of those that wait, who has least is next."""
        return self.running.get(asker.tenant, 0) / _weight(asker)

    def all_held(self, engine: str) -> Mapping[str, int]:
        """What each tenant has on an engine."""
        return self._held.get(engine, {})

    def turn(self) -> bool:
        """A while is over; whether there is anybody left who was there lately."""
        self.lately.turn(self.running)
        for engine in [one for one, held in self._held.items() if not held]:
            del self._held[engine]
        for key in [one for one, flow in self._flows.items() if not flow.queues and flow.clock <= self._clock]:
            del self._flows[key]  # who comes anew begins at that clock too
        return bool(self.lately.weights)

    def join(self, one: W) -> None:
        """A request waits, in its tenant's order: one that has waited before comes where it was."""
        asker = one.asker
        weight = _weight(asker)
        key = asker.tenant, asker.batch
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = _Flow(weight, self._clock)
        flow.weight = weight  # which may have been changed meanwhile
        flow.clock = max(flow.clock, self._clock) if not flow.queues else flow.clock
        queue = flow.queues.setdefault(one.where, deque())
        later = []
        while queue and queue[-1].number > one.number:
            later.append(queue.pop())
        queue.append(one)
        queue.extend(reversed(later))
        self.waiting += 1
        self.wanted += asker.size

    def leave(self, one: W) -> None:
        """It waits no more, whether it begins or not."""
        asker = one.asker
        flow = self._flows[asker.tenant, asker.batch]
        queue = flow.queues[one.where]
        queue.remove(one)
        if not queue:
            del flow.queues[one.where]
        self.waiting -= 1
        self.wanted -= asker.size
        if not self.waiting:
            self._forget()

    def take(self, can_begin: Callable[[W], bool], kind: Callable[[Asker], Hashable] = _one_kind) -> W | None:
        """Take out whose turn it is, of those that can begin; `None` when none can. Of askers of one `kind`, with the
        same `where`, one is asked for all.
        """
        asked: dict[Hashable, bool] = {}

        def can(one: W) -> bool:
            key = one.where, kind(one.asker)
            known = asked.get(key)
            if known is None:
                known = asked[key] = can_begin(one)
            return known

        best: tuple[float, float, int] | None = None
        chosen: tuple[W, _Flow[W]] | None = None
        for (tenant, _), flow in self._flows.items():
            if flow.queues and (first := flow.first(can)) is not None:
                rank = self.running.get(tenant, 0) / flow.weight, flow.clock, first.number
                if best is None or rank < best:
                    best, chosen = rank, (first, flow)
        if chosen is None:
            return None
        one, flow = chosen
        self._clock = max(self._clock, flow.clock)
        flow.clock += one.asker.size / flow.weight
        self.leave(one)
        return one

    def first_of_many(self) -> W | None:
        """Whose turn it would be if all could begin, where that is a request of several answers; of those that other
        engines can take, each has a turn of its own.
        """
        if self.wanted == self.waiting:
            return None
        first: dict[Hashable, tuple[tuple[float, float, int], W]] = {}
        for (tenant, _), flow in self._flows.items():
            for where, queue in flow.queues.items():
                rank = self.running.get(tenant, 0) / flow.weight, flow.clock, queue[0].number
                if where not in first or rank < first[where][0]:
                    first[where] = rank, queue[0]
        many = [found for found in first.values() if found[1].asker.size > 1]
        return min(many, key=lambda found: found[0])[1] if many else None

    def all(self) -> Iterator[W]:
        """Everything that waits."""
        return (one for flow in self._flows.values() for queue in flow.queues.values() for one in queue)

    def ahead_of(self, one: W) -> int:
        """How many of its tenant's requests come before it."""
        queues = self._flows[one.asker.tenant, one.asker.batch].queues.values()
        return sum(other.number < one.number for queue in queues for other in queue)

    def standings(self) -> list[Standing]:
        """Every tenant that waits, in no order."""
        found: dict[str, Standing] = {}
        for (tenant, batch), flow in self._flows.items():
            if number := sum(len(queue) for queue in flow.queues.values()):
                weight = round(flow.weight / (BATCH_PART if batch else 1.0))
                before = found.get(tenant)
                waiting = number + (before.waiting if before else 0)
                found[tenant] = Standing(tenant, weight, self.running.get(tenant, 0), waiting)
        return list(found.values())

    def _forget(self) -> None:
        """Nobody waits: what came before counts for nothing."""
        self._flows.clear()
        self._clock = 0.0
