"""What the request path may know of the fleet: a read-only view, and the counts of what is in flight."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

from gateway.fleet.connection import EngineClient


class ColdAdapterFailed(Exception):
    """A version could not be made resident. `permanent` when trying again cannot help."""

    def __init__(self, reason: str, *, permanent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent


@dataclass(frozen=True, slots=True)
class EngineView:
    """One engine at one instant. `resident` maps version ids to the names that the engine knows them by."""

    url: str
    client: EngineClient
    base_digest: str
    base_name: str | None
    """The name under which base-model requests are sent; `None` until the engine can take them."""
    resident: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class FleetView:
    """Every engine that may take traffic now."""

    engines: tuple[EngineView, ...]


@dataclass(slots=True)
class InFlight:
    """Requests per (engine, adapter name) of this worker. Nothing is unloaded while its count is above zero."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    last_used_s: dict[tuple[str, str], float] = field(default_factory=dict)
    """`time.monotonic()` of the last request's end."""

    def pin(self, engine: str, name: str) -> Pin:
        """A context in which the adapter may not be unloaded from the engine."""
        return Pin(self, (engine, name))

    def count(self, engine: str, name: str) -> int:
        """Requests running now."""
        return self.counts.get((engine, name), 0)

    def total(self) -> int:
        """Requests running now on all engines."""
        return sum(self.counts.values())


class Pin:
    """One request's hold on one adapter of one engine; counted from construction to the end of the block."""

    __slots__ = ("_in_flight", "_key", "name")

    def __init__(self, in_flight: InFlight, key: tuple[str, str]) -> None:
        self._in_flight = in_flight
        self._key = key
        self.name = key[1]
        in_flight.counts[key] = in_flight.counts.get(key, 0) + 1

    def release(self) -> None:
        """Give the hold back."""
        remaining = self._in_flight.counts[self._key] - 1
        if remaining:
            self._in_flight.counts[self._key] = remaining
        else:
            del self._in_flight.counts[self._key]
        self._in_flight.last_used_s[self._key] = time.monotonic()

    def __enter__(self) -> Pin:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
