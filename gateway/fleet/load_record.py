"""What becomes of loads, told to those who count: engines' bills and metrics."""

from __future__ import annotations

from gateway.engines.managed import ManagedEngine
from gateway.fleet.sampling import Sampling
from gateway.metrics.fleet import FleetTraffic
from registry.catalog.snapshot import VersionEntry


class LoadRecord:
    """Of one term."""

    def __init__(self, sampling: Sampling, fleet: FleetTraffic) -> None:
        self._sampling = sampling
        self._fleet = fleet

    def loaded(self, engine: ManagedEngine, version: VersionEntry, took_s: float) -> None:
        """The engine has the version, and has proven it; that took so many seconds."""
        self._sampling.loaded(engine, version, took_s)
        self._fleet.loaded(engine.url, took_s)

    def failed(self, engine_url: str) -> None:
        """A load ended without the adapter."""
        self._fleet.load_ended(engine_url, "failed")

    def refused(self, engine: ManagedEngine) -> None:
        """A load was not begun, as too many of its tenant wait for their turn."""
        self._fleet.load_ended(engine.url, "refused")

    def evicted(self, engine: ManagedEngine) -> None:
        """An adapter left the routes so that the engine has room for another."""
        self._fleet.evicted(engine.url)
