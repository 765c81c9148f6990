"""What the request path may know of the fleet: a read-only view, and the counts of what is in flight."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType

from gateway.engines.connection import EngineClient
from gateway.engines.engine import Engine, EngineStatus
from gateway.engines.kinds import base_of_adapters
from gateway.fleet.homes import Homes
from gateway.handoffs import Arm, Endpoint


class ColdAdapterFailed(Exception):
    """A version could not be made resident. `permanent` when trying again cannot help, `tenants_own` when the tenant
    has asked for too many.
    """

    def __init__(self, reason: str, *, permanent: bool, tenants_own: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent
        self.tenants_own = tenants_own


def runs(engine: Engine, slots: int | None) -> float:
    """Different adapters that requests may be on at a time. Of an engine's places one is a swap's, and one may be the
    zero adapter's.
    """
    return min(slots or math.inf, max(1, engine.places - 2))


@dataclass(frozen=True, slots=True)
class EngineView:
    """One engine that takes traffic. `resident` maps version ids to the names that the engine knows them by."""

    declared: Engine
    status: EngineStatus
    resident: Mapping[int, str]
    client: EngineClient
    url: str = field(init=False)
    """What the engine is known by, at hand: requests are placed by it."""
    base_of_adapters: str | None = field(init=False)
    """Digest of the base whose versions it can serve; `None` where its kind takes no adapters."""
    runs: float = field(init=False)
    """Different adapters that requests may be on at a time."""

    def __post_init__(self) -> None:
        """Take them from the declaration."""
        object.__setattr__(self, "url", self.declared.url)
        object.__setattr__(self, "base_of_adapters", base_of_adapters(self.declared))
        object.__setattr__(self, "runs", runs(self.declared, self.status.slots))


@dataclass(frozen=True, slots=True)
class FleetView:
    """Every engine that takes traffic now."""

    engines: tuple[EngineView, ...]
    homes: Homes
    """The order of these engines for each adapter."""
    copies: Mapping[int, int]
    """Version ids with more than one home, and how many."""
    without: Mapping[Endpoint, frozenset[str]] = field(init=False)
    """URLs of the engines that do not have an endpoint, of those endpoints that some engine does not have."""
    _by_url: Mapping[str, EngineView] = field(init=False)
    _able: Mapping[tuple[str, bool], tuple[EngineView, ...]] = field(init=False)
    """Digest of a base, and whether the base itself is asked for or an adapter of it → those that can answer."""

    def __post_init__(self) -> None:
        """Found out once for all requests."""
        missing = {endpoint for engine in self.engines for endpoint in engine.status.missing}
        without = {
            endpoint: frozenset(engine.url for engine in self.engines if endpoint in engine.status.missing)
            for endpoint in missing
        }
        able: dict[tuple[str, bool], tuple[EngineView, ...]] = {}
        for engine in self.engines:
            for base, itself in ((engine.declared.base_digest, True), (engine.base_of_adapters, False)):
                if base is not None:
                    able[base, itself] = (*able.get((base, itself), ()), engine)
        object.__setattr__(self, "without", without)
        object.__setattr__(self, "_by_url", {engine.url: engine for engine in self.engines})
        object.__setattr__(self, "_able", able)

    @classmethod
    def empty(cls) -> FleetView:
        """No engine."""
        return cls((), Homes({}), {})

    def of_base(self, base_digest: str) -> tuple[EngineView, ...]:
        """Those that serve a base."""
        return self._able.get((base_digest, True), ())

    def able(self, arm: Arm) -> tuple[EngineView, ...]:
        """Those that serve the arm's base, and can hold adapters of it where it is a version."""
        return self._able.get((arm.base_digest, arm.version is None), ())

    def engine(self, url: str) -> EngineView | None:
        """The engine at a URL, when it takes traffic."""
        return self._by_url.get(url)


@dataclass(slots=True)
class Use:
    """Requests on one version on one engine since a report, and when (`time.monotonic()`) the newest began."""

    requests: int = 0
    newest_s: float = 0.0


@dataclass(slots=True)
class InFlight:
    """Requests of this worker by engine and adapter. Nothing is unloaded while any worker counts one."""

    on_released: Callable[[], None]
    """Called when the last request on a name in `awaited` has ended."""
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    """(engine URL, adapter name there) → requests running now."""
    by_engine: dict[str, int] = field(default_factory=dict)
    uses: dict[tuple[str, int], Use] = field(default_factory=dict)
    """(engine URL, version id) → what began since the last report."""
    by_version: dict[int, int] = field(default_factory=dict)
    """Version id → requests that were given that version, also those that do not run on an engine yet."""
    copies: dict[tuple[str, str], int] = field(default_factory=dict)
    """As `counts`, of those which are copies of requests: they make room for whatever a tenant asks for."""
    awaited: set[tuple[str, str]] = field(default_factory=set)
    """Names that have left the routes and had requests then."""

    def total(self) -> int:
        """Requests running now on all engines."""
        return sum(self.counts.values())


class Given:
    """A context around a request that was given an arm by the catalog in force: it is counted for the arm's version."""

    __slots__ = ("_counts", "_version")

    def __init__(self, in_flight: InFlight, arm: Arm) -> None:
        self._counts = in_flight.by_version
        self._version = None if arm.version is None else arm.version.id

    def __enter__(self) -> None:
        if self._version is not None:
            self._counts[self._version] = self._counts.get(self._version, 0) + 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._version is not None:
            left = self._counts.pop(self._version) - 1
            if left:
                self._counts[self._version] = left


class Pin:
    """One request's hold on one adapter of one engine, which is not unloaded from construction to `release`."""

    __slots__ = ("_in_flight", "_key")

    def __init__(self, in_flight: InFlight, engine: str, name: str, version: int | None) -> None:
        """`version` is used, if it is one."""
        self._in_flight = in_flight
        self._key = key = engine, name
        in_flight.counts[key] = in_flight.counts.get(key, 0) + 1
        in_flight.by_engine[engine] = in_flight.by_engine.get(engine, 0) + 1
        if version is not None:
            use = in_flight.uses.get((engine, version))
            if use is None:
                use = in_flight.uses[engine, version] = Use()
            use.requests += 1
            use.newest_s = time.monotonic()

    def release(self) -> None:
        """Give the hold back."""
        in_flight, key = self._in_flight, self._key
        in_flight.by_engine[key[0]] -= 1
        remaining = in_flight.counts[key] - 1
        if remaining:
            in_flight.counts[key] = remaining
            return
        del in_flight.counts[key]
        if key in in_flight.awaited:
            in_flight.awaited.discard(key)
            in_flight.on_released()


class CopyPin(Pin):
    """The hold of a copy of a request. It is no load that requests would be placed by, and no use, as nobody has asked
    for it.
    """

    __slots__ = ()

    def __init__(self, in_flight: InFlight, engine: str, name: str) -> None:
        super().__init__(in_flight, engine, name, None)
        in_flight.by_engine[engine] -= 1
        in_flight.copies[engine, name] = in_flight.copies.get((engine, name), 0) + 1

    def release(self) -> None:
        """Give the hold back."""
        in_flight, key = self._in_flight, self._key
        in_flight.copies[key] -= 1
        if not in_flight.copies[key]:
            del in_flight.copies[key]
        in_flight.by_engine[key[0]] += 1
        super().release()
