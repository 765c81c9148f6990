"""What the leader counts itself: loads, engines, its duties, and what it has read from the database."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping

from gateway.engines.managed import ManagedEngine
from gateway.metrics import families
from gateway.metrics.layout import LONG_S
from gateway.metrics.rings import Rings
from gateway.metrics.sums import Samples

RESULTS = ("ok", "failed", "refused")
"""How a load may end."""


class SteadyClock:
    """Seconds since the epoch as they were once, and from then on without the jumps of clocks."""

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Now."""
        return self._offset_s + time.monotonic()


class FleetTraffic:
    """Of all engines, whichever gateway's requests they have."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.rings = Rings()
        self.engines: Iterable[ManagedEngine] = ()
        """Those of the fleet now."""
        self.in_flight: Callable[[str], int] = lambda _url: 0
        """Requests that workers have on an engine."""
        self.loading: Callable[[str], int] = lambda _url: 0
        """Loads that run on an engine, or wait for their turn."""
        self.duties: Callable[[], Mapping[str, str | None]] = dict
        """What each duty raised when it was done last."""
        self._since_s = clock()
        self._loads: dict[tuple[str, str], int] = {}
        self._evictions: dict[str, int] = {}
        self._load_times: dict[str, list[float]] = {}
        self._failures: dict[str, int] = {}
        self._facts: Samples = {}
        self._read_s = self._since_s

    def note(self, engine: ManagedEngine) -> None:
        """The engine was looked at: so many requests of anybody wait in it."""
        if (look := engine.health.look) is not None:
            self.rings.at(self.clock()).level(("engine", engine.url)).note(look.waiting)

    def loaded(self, engine: str, took_s: float) -> None:
        """The engine at this URL has loaded an adapter, in so many seconds."""
        self.load_ended(engine, "ok")
        times = self._load_times.setdefault(engine, [0.0] * (len(LONG_S) + 2))
        times[0] += took_s
        times[1 + bisect_left(LONG_S, took_s)] += 1

    def evicted(self, engine: str) -> None:
        """An adapter left the routes to the engine at this URL, so that it has room for another."""
        self.rings.at(self.clock()).evictions += 1
        self._evictions[engine] = self._evictions.get(engine, 0) + 1

    def loads_of(self, engine: str) -> dict[str, int]:
        """What has become of loads on the engine at this URL in this term, for `/admin/v1/fleet`."""
        ok, failed = (self._loads.get((engine, result), 0) for result in ("ok", "failed"))
        return {"ok": ok, "failed": failed, "evictions": self._evictions.get(engine, 0)}

    def load_ended(self, engine: str, result: str) -> None:
        """A load ended there; one of `RESULTS`."""
        for known in RESULTS:
            self._loads.setdefault((engine, known), 0)
        self._loads[engine, result] += 1
        slot = self.rings.at(self.clock())
        slot.loads += result == "ok"
        slot.failed_loads += result == "failed"

    def duty_failed(self, name: str) -> None:
        """A duty of the leader has failed."""
        self._failures[name] = self._failures.get(name, 0) + 1

    def learn(self, facts: Samples) -> None:
        """The database was read."""
        self._facts = {**self._facts, **facts}
        self._read_s = self.clock()

    def samples(self) -> Samples:
        """For Prometheus."""
        looks = [(one.url, one.health.look) for one in self.engines if one.health.look is not None]
        urls = {one.url for one in self.engines}
        duties = self.duties()
        return {
            families.SINCE.name: [[[], self._since_s]],
            families.LOADS.name: [[[*key], count] for key, count in self._loads.items() if key[0] in urls],
            families.EVICTIONS.name: [[[url], self._evictions.get(url, 0)] for url in urls],
            families.LOAD_TIME.name: [
                [[url], times[1:], times[0]] for url, times in self._load_times.items() if url in urls
            ],
            families.BREACHES.name: [
                [[one.url, breach], count] for one in self.engines for breach, count in one.conduct.counts.items()
            ],
            families.ENGINE_IN_FLIGHT.name: [[[url], self.in_flight(url)] for url in urls],
            families.LOADING.name: [[[url], self.loading(url)] for url in urls],
            families.RUNNING.name: [[[url], look.running] for url, look in looks],
            families.WAITING.name: [[[url], look.waiting] for url, look in looks],
            families.KV.name: [[[url], look.kv_usage] for url, look in looks],
            families.PLACES.name: [[[one.url], one.declared.places] for one in self.engines],
            families.DUTY_UP.name: [[[name], int(fault is None)] for name, fault in duties.items()],
            families.DUTY_FAILURES.name: [[[name], self._failures.get(name, 0)] for name in duties],
            families.FACTS_AGE.name: [[[], self.clock() - self._read_s]],
            **self._facts,
        }
