"""The fleet's one writer: it alone loads and unloads adapters, plans their room, and executes swaps.

The request path sees `view()` (read-only), asks `ensure()` for a cold adapter, holds `pin()` while it uses one, and
tells `lost()` when an engine disowns one. Those four are the seam: when workers become processes, they cross it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from gateway.fleet.engine import ManagedEngine
from gateway.fleet.swap import SwapRunner
from gateway.fleet.view import ColdAdapterFailed, FleetView, InFlight, Pin
from gateway.fleet.vllm import AdapterRejected, EngineFault
from registry.catalog import Catalog, VersionEntry
from registry.errors import RegistryError
from registry.service import Registry

log = logging.getLogger("switchyard.fleet")


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """How the controller paces itself, in seconds."""

    check_interval_s: float = 1.0
    reconcile_interval_s: float = 5.0
    retire_after_s: float = 300.0
    """An adapter that nothing points at and nobody used for so long is unloaded."""
    preload_retry_s: float = 15.0
    drain_timeout_s: float = 300.0
    """How long a swap waits for requests on the old version before it calls itself done without them."""


class Controller:
    """Owns every `ManagedEngine`."""

    def __init__(
        self,
        engines: list[ManagedEngine],
        registry: Registry,
        catalog: Callable[[], Catalog],
        zero_adapters: dict[str, Path],
        settings: ControllerSettings,
    ) -> None:
        self.engines = engines
        self.in_flight = InFlight()
        self._registry = registry
        self._catalog = catalog
        self._zero_adapters = zero_adapters
        self._settings = settings
        self._view = FleetView(())
        self._loads: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._checks: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[tuple[str, int], float] = {}
        """When a failed preload may be tried again; requests and swaps do not wait for it."""
        self._swaps = SwapRunner(self, registry, settings.drain_timeout_s)
        self._wake = asyncio.Event()

    # What the request path uses

    def view(self) -> FleetView:
        """Engines that may take traffic now."""
        return self._view

    def pin(self, engine: str, name: str) -> Pin:
        """Hold an adapter on an engine while a request uses it."""
        return self.in_flight.pin(engine, name)

    async def ensure(self, engine_url: str, version: VersionEntry, *, full_proof: bool = False) -> None:
        """Make a version resident on an engine; callers who ask at once share one load. Raises `ColdAdapterFailed`."""
        engine = next((engine for engine in self.engines if engine.url == engine_url), None)
        if engine is None or not engine.healthy:
            raise ColdAdapterFailed(f"the engine is down ({engine.fault if engine else 'unknown'})", permanent=False)
        while not engine.holds(version.id, fully_proven=full_proof):
            load = self._loads.get((engine_url, version.id))
            if load is None or load.done():  # a finished one stays in the table until the loop's next turn
                load = self._start_load(engine, version, full_proof)
            await asyncio.shield(load)  # a client that goes away must not cancel the load that others wait for

    def lost(self, engine_url: str, name: str) -> None:
        """An engine said that it does not know an adapter that we thought resident."""
        for engine in self.engines:
            if engine.url == engine_url:
                engine.resident = {key: entry for key, entry in engine.resident.items() if entry.name != name}
                if engine.base_name == name:
                    engine.base_name = None
        self.publish_view()
        self.wake()

    def wake(self) -> None:
        """Look at engines, catalog and swaps now: something changed, or a request could not reach an engine."""
        self._wake.set()

    # Loading

    def _start_load(self, engine: ManagedEngine, version: VersionEntry, full_proof: bool) -> asyncio.Task[None]:
        key = (engine.url, version.id)
        task = asyncio.create_task(self._load(engine, version, full_proof), name=f"load {version.name}")
        self._loads[key] = task
        task.add_done_callback(lambda done: self._load_ended(key, done))
        return task

    async def _load(self, engine: ManagedEngine, version: VersionEntry, full_proof: bool) -> None:
        async with engine.loading:
            began = time.monotonic()
            try:
                if version.id in engine.resident:
                    resident = await engine.prove_fully(version.id)
                else:
                    await self._make_room(engine)
                    folder = await asyncio.to_thread(self._registry.adapters.materialise, version.manifest_digest)
                    resident = await engine.load(version.id, version.manifest_digest, folder, full_proof=full_proof)
            except AdapterRejected as error:
                self.publish_view()
                await asyncio.to_thread(self._registry.adapters.quarantine, version.id, str(error))
                log.error("quarantined %s: %s", version.name, error)
                raise ColdAdapterFailed(f"{version.name} is quarantined: {error}", permanent=True) from error
            except (EngineFault, RegistryError, OSError) as error:
                raise ColdAdapterFailed(f"{version.name} could not be loaded: {error}", permanent=False) from error
            self.in_flight.last_used_s[engine.url, resident.name] = time.monotonic()  # a newcomer is not the idlest
            self.publish_view()
            proven = "no proof" if resident.strength is None else f"effect {resident.strength:.2f}"
            log.info("loaded %s on %s in %.2f s (%s)", version.name, engine.url, time.monotonic() - began, proven)

    def _load_ended(self, key: tuple[str, int], task: asyncio.Task[None]) -> None:
        if self._loads.get(key) is task:
            del self._loads[key]
        if not task.cancelled() and task.exception() is not None:
            self._not_before[key] = time.monotonic() + self._settings.preload_retry_s
            log.warning("%s", task.exception())  # also marks it as seen when every waiting client went away

    async def _make_room(self, engine: ManagedEngine) -> None:
        """Unload the adapter that was used longest ago and is not in use. Raises `ColdAdapterFailed` if all are."""
        while engine.free_slots < 1:
            idle = [
                (self.in_flight.last_used_s.get((engine.url, entry.name), 0.0), version_id)
                for version_id, entry in engine.resident.items()
                if self.in_flight.count(engine.url, entry.name) == 0
            ]
            if not idle:
                raise ColdAdapterFailed("every adapter slot of the engine is in use", permanent=False)
            await self.retire(engine, min(idle)[1])

    async def retire(self, engine: ManagedEngine, version_id: int) -> None:
        """Take a version out of the routes, then off the engine. Only for versions with nothing in flight there.

        Everything up to the first `await` is one step for the event loop, so no request can pin it in between.
        """
        entry = engine.resident[version_id]
        assert self.in_flight.count(engine.url, entry.name) == 0
        del engine.resident[version_id]
        self.in_flight.last_used_s.pop((engine.url, entry.name), None)
        self.publish_view()
        try:
            await engine.unload(entry.name)
        except EngineFault as error:
            log.warning("unloading %s from %s: %s", entry.name, engine.url, error)

    # The loop

    async def run(self) -> None:
        """Check engines, bring wanted versions in, execute swaps; forever."""
        reconciled_at = 0.0
        while True:
            due = time.monotonic() - reconciled_at >= self._settings.reconcile_interval_s
            if due:
                reconciled_at = time.monotonic()
            await self._check_all(reconcile=due)
            self._preload_wanted()
            if due:
                await self._retire_unwanted()
            try:
                await self._swaps.start_pending()
            except SQLAlchemyError as error:
                log.warning("swaps wait for the database: %s", error)
            try:
                async with asyncio.timeout(self._settings.check_interval_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _check_all(self, *, reconcile: bool) -> None:
        """Look at every engine. One that does not answer keeps its own check waiting, and nobody else's round."""
        for engine in self.engines:
            if engine.url not in self._checks:
                check = asyncio.create_task(self._check(engine, reconcile=reconcile), name=f"check {engine.url}")
                self._checks[engine.url] = check
                check.add_done_callback(partial(self._check_ended, engine))
        if self._checks:
            await asyncio.wait(self._checks.values(), timeout=self._settings.check_interval_s)

    def _check_ended(self, engine: ManagedEngine, check: asyncio.Task[None]) -> None:
        del self._checks[engine.url]
        if not check.cancelled() and (error := check.exception()) is not None:
            log.error("checking engine %s failed", engine.url, exc_info=error)
            engine.down(f"its check failed: {error!r}")

    async def _check(self, engine: ManagedEngine, *, reconcile: bool) -> None:
        try:
            new_boot = await engine.check(self._zero_adapters[engine.declared.base_digest])
            if new_boot:  # what failed on the old one may be tried at once
                self._not_before = {key: at for key, at in self._not_before.items() if key[0] != engine.url}
            elif reconcile:
                for version_id in await engine.reconcile():
                    log.warning("engine %s lost version id %d", engine.url, version_id)
            if not engine.healthy:
                log.info("engine %s is up: vLLM %s", engine.url, engine.version)
            engine.healthy, engine.fault = True, None
        except EngineFault as error:
            engine.down(str(error))
        self.publish_view()

    def _preload_wanted(self) -> None:
        """Begin loading what an alias or a split points at and an engine lacks, as far as there is room."""
        catalog = self._catalog()
        for engine in self.engines:
            if not engine.healthy:
                continue
            room = engine.free_slots - sum(1 for url, _ in self._loads if url == engine.url)
            for version in catalog.wanted_versions():
                key = (engine.url, version.id)
                fits = room > 0 and version.base_digest == engine.declared.base_digest
                missing = version.id not in engine.resident and key not in self._loads
                if fits and missing and time.monotonic() >= self._not_before.get(key, 0.0):
                    room -= 1
                    self._start_load(engine, version, full_proof=False)

    async def _retire_unwanted(self) -> None:
        wanted = {version.id for version in self._catalog().wanted_versions()} | self._swaps.versions()
        before = time.monotonic() - self._settings.retire_after_s
        for engine in self.engines:
            for version_id, entry in list(engine.resident.items()):
                if engine.resident.get(version_id) is not entry:
                    continue  # it left while another one was unloaded
                key = (engine.url, entry.name)
                idle_since = self.in_flight.last_used_s.setdefault(key, time.monotonic())
                if version_id not in wanted and idle_since < before and not self.in_flight.count(*key):
                    await self.retire(engine, version_id)

    def publish_view(self) -> None:
        """Make the engines' state visible to the request path, in one assignment."""
        self._view = FleetView(tuple(engine.view() for engine in self.engines if engine.healthy))

    async def close(self) -> None:
        """Stop loads and swaps, close connections."""
        tasks = [*self._checks.values(), *self._loads.values(), *self._swaps.tasks()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for engine in self.engines:
            await engine.close()
