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
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

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
        """What decides which engines can take it: where this is equal, all can begin or none can."""


W = TypeVar("W", bound=Waiting)


class Standing(NamedTuple):
    """How a tenant stands that waits."""

    tenant: str
    weight: int
    running: int
    waiting: int


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
        self.waiting = 0
        self._flows: dict[tuple[str, bool], _Flow[W]] = {}
        """Those that wait, and those that have begun more than was their turn since somebody began to wait."""
        self._clock = 0.0

    def begin(self, asker: Asker) -> None:
        """A request runs from now on; who has waited has been taken out by `take`."""
        self.running[asker.tenant] = self.running.get(asker.tenant, 0) + asker.size

    def end(self, asker: Asker) -> None:
        """It does not run any more."""
        left = self.running[asker.tenant] - asker.size
        if left:
            self.running[asker.tenant] = left
        else:
            del self.running[asker.tenant]

    def join(self, one: W) -> None:
        """A request waits, in its tenant's order: one that has waited before comes where it was."""
        asker = one.asker
        weight = asker.weight * (BATCH_PART if asker.batch else 1.0)
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

    def leave(self, one: W) -> None:
        """It waits no more, whether it begins or not."""
        asker = one.asker
        flow = self._flows[asker.tenant, asker.batch]
        queue = flow.queues[one.where]
        queue.remove(one)
        if not queue:
            del flow.queues[one.where]
        self.waiting -= 1
        if not self.waiting:
            self._forget()

    def take(self, can_begin: Callable[[W], bool]) -> W | None:
        """Take out whose turn it is, of those that can begin; `None` when none can."""
        asked: dict[Hashable, bool] = {}

        def can(one: W) -> bool:
            known = asked.get(one.where)
            if known is None:
                known = asked[one.where] = can_begin(one)
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
