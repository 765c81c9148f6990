"""What the leader knows of the traffic of each gateway: what workers have told since its term began, and no more."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from gateway.metrics import families
from gateway.metrics.counts import AskTraffic, Counted, CountedRow, Level
from gateway.metrics.fleet import FleetTraffic, SteadyClock
from gateway.metrics.layout import OUTCOMES
from gateway.metrics.naming import Names
from gateway.metrics.rings import ALL, Line, Rings
from gateway.metrics.series import Known
from gateway.metrics.sums import Samples, Sums, joined

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


class GatewayTraffic:
    """Of one gateway."""

    def __init__(self, naming: Naming, now_s: float) -> None:
        self.since_s = self.heard_s = now_s
        self.rings = Rings()
        self.sums = Sums()
        self.tenants = Names(naming.tenants, naming.most_tenants)
        self.models = Names(naming.models, naming.most_models)
        self._heard: dict[str, tuple[float, tuple[Level, ...]]] = {}
        """Worker → when it told something last, and what it said of itself then."""

    def take(self, worker: str, counted: Counted, now_s: float) -> None:
        """What a worker has counted since it told of it last."""
        self.heard_s = now_s
        self._heard[worker] = now_s, counted.levels
        slot = self.rings.at(now_s)
        for row in counted.rows:
            lines = self._lines(row)
            slot.add(lines, row.at, row.by)
            self.sums.add_row(row, lines)
        self.sums.add_others(counted)
        in_flight = sum(value for name, _, value in counted.levels if name == families.IN_FLIGHT.name)
        slot.level(("worker", worker)).note(in_flight)
        for kind, names in (("tenant", self.tenants), ("adapter", self.models)):
            self.sums.forget(kind, names.reshuffle(now_s))

    def workers(self, now_s: float) -> list[tuple[Level, ...]]:
        """What each worker that lives has said of itself."""
        self._heard = {one: told for one, told in self._heard.items() if now_s - told[0] < HEARD_S}
        return [levels for _, levels in self._heard.values()]

    def samples(self, now_s: float) -> Samples:
        """For Prometheus."""
        levels = self.workers(now_s)
        return {
            **self.sums.samples(),
            **joined(levels),
            families.WORKERS.name: [[[], len(levels)]],
            families.DROPPED.name: [[["tenant"], self.tenants.dropped], [["adapter"], self.models.dropped]],
        }

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
        self.naming = naming
        self.gateways: dict[str, GatewayTraffic] = {}
        self.fleet = FleetTraffic(clock or SteadyClock())
        self._clock = self.fleet.clock

    def take(self, worker: str, counted: Counted) -> None:
        """A worker tells what is new."""
        now_s = self._clock()
        found = self.gateways.get(counted.gateway)
        if found is None:
            if len(self.gateways) >= MOST_GATEWAYS:
                del self.gateways[min(self.gateways, key=lambda name: self.gateways[name].heard_s)]
            found = self.gateways[counted.gateway] = GatewayTraffic(self.naming, now_s)
        found.take(worker, counted, now_s)

    def samples(self, gateway: str) -> Samples:
        """For Prometheus: of this gateway, and of the fleet."""
        found = self.gateways.get(gateway)
        if found is not None:
            found.sums.keep("engine", {engine.url for engine in self.fleet.engines})
        return {**(found.samples(self._clock()) if found is not None else {}), **self.fleet.samples()}

    def known(self, asked: AskTraffic) -> Known:
        """What the answer is made of: it is safe to be read in another thread."""
        now_s = self._clock()
        found = self.gateways.get(asked.gateway) or GatewayTraffic(self.naming, now_s)
        from_s = now_s - asked.window_s
        slot_s, slots = found.rings.since(from_s, asked.window_s)
        _, of_fleet = self.fleet.rings.since(from_s, asked.window_s)
        return Known(
            found.since_s,
            now_s,
            len(found.workers(now_s)),
            slot_s,
            slots,
            of_fleet,
            found.tenants.all(),
            found.models.all(),
            found.names(asked),
        )
