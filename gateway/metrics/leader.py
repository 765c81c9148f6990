"""What the leader knows of the traffic of each gateway: what workers have told since its term began, and no more."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from gateway.engines.managed import ManagedEngine
from gateway.metrics.counts import AskTraffic, Counted, CountedRow
from gateway.metrics.layout import OUTCOMES
from gateway.metrics.naming import Names
from gateway.metrics.rings import ALL, Line, Rings
from gateway.metrics.series import Known

MOST_GATEWAYS = 64
HEARD_S = 10.0
"""A worker that has told nothing for so long is none."""


@dataclass(frozen=True, slots=True)
class Naming:
    """Who has a name in metrics whatever happens, and how many others have one."""

    tenants: Collection[str] = ()
    most_tenants: int = 20
    models: Collection[str] = ()
    most_models: int = 20


class SteadyClock:
    """Seconds since the epoch as they were once, and from then on without the jumps of clocks."""

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Now."""
        return self._offset_s + time.monotonic()


class GatewayTraffic:
    """Of one gateway."""

    def __init__(self, naming: Naming, now_s: float) -> None:
        self.since_s = self.heard_s = now_s
        self.rings = Rings()
        self.tenants = Names(naming.tenants, naming.most_tenants)
        self.models = Names(naming.models, naming.most_models)
        self.workers: dict[str, float] = {}
        """Id → when it told something last."""

    def take(self, worker: str, counted: Counted, now_s: float) -> None:
        """What a worker has counted since it told of it last."""
        self.heard_s = self.workers[worker] = now_s
        slots = list(self.rings.at(now_s))
        for row in counted.rows:
            lines = self._lines(row)
            for slot in slots:
                slot.add(lines, row.at, row.by)
        for slot in slots:
            slot.level(("worker", worker)).note(counted.in_flight)
        for names in (self.tenants, self.models):
            names.reshuffle(now_s)

    def names(self, asked: AskTraffic) -> bool:
        """Whether what is asked for has a name, or would get one."""
        if asked.only is None or asked.by not in ("tenant", "adapter"):
            return True
        return (self.tenants if asked.by == "tenant" else self.models).has(asked.only)

    def _lines(self, row: CountedRow) -> list[Line]:
        requests = sum(by for place, by in zip(row.at, row.by, strict=True) if place < len(OUTCOMES))
        lines = [ALL, ("endpoint", row.endpoint)]
        for kind, name in (
            ("engine", row.engine),
            ("tenant", self.tenants.named(row.tenant, requests)),
            ("adapter", self.models.named(row.model, requests)),
        ):
            if name:
                lines.append((kind, name))
        return lines


class Traffic:
    """One term's."""

    def __init__(self, naming: Naming, clock: Callable[[], float] | None = None) -> None:
        """`clock` gives seconds since the epoch, and is never put back."""
        self.gateways: dict[str, GatewayTraffic] = {}
        self._naming = naming
        self._clock = clock or SteadyClock()
        self._fleet = Rings()

    def take(self, worker: str, counted: Counted) -> None:
        """A worker tells what is new."""
        now_s = self._clock()
        found = self.gateways.get(counted.gateway)
        if found is None:
            if len(self.gateways) >= MOST_GATEWAYS:
                del self.gateways[min(self.gateways, key=lambda name: self.gateways[name].heard_s)]
            found = self.gateways[counted.gateway] = GatewayTraffic(self._naming, now_s)
        found.take(worker, counted, now_s)

    def note(self, engine: ManagedEngine) -> None:
        """The engine was looked at: so many requests of anybody wait in it."""
        if (look := engine.health.look) is not None:
            for slot in self._fleet.at(self._clock()):
                slot.level(("engine", engine.url)).note(look.waiting)

    def loaded(self, *, well: bool) -> None:
        """An adapter's load has ended."""
        for slot in self._fleet.at(self._clock()):
            if well:
                slot.loads += 1
            else:
                slot.failed_loads += 1

    def known(self, asked: AskTraffic) -> Known:
        """What the answer is made of: it is safe to be read in another thread."""
        now_s = self._clock()
        found = self.gateways.get(asked.gateway) or GatewayTraffic(self._naming, now_s)
        ring, fleet = found.rings.of(asked.window_s), self._fleet.of(asked.window_s)
        from_s = now_s - asked.window_s
        return Known(
            found.since_s,
            now_s,
            sum(now_s - heard_s < HEARD_S for heard_s in found.workers.values()),
            ring.slot_s,
            ring.since(from_s),
            fleet.since(from_s),
            found.tenants.all(),
            found.models.all(),
            found.names(asked),
        )
