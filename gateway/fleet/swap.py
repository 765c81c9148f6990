"""One promote or rollback, executed: preload and prove → move the alias → every worker acknowledges → drain."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from gateway.fleet.view import ColdAdapterFailed
from registry.catalog import VersionEntry
from registry.db import now_ms
from registry.errors import Conflict, RegistryError
from registry.service import Registry
from registry.swaps import DONE, DRAINING, FAILED, FLIPPED, PRELOADING, REQUESTED, VERIFIED, SwapInfo

if TYPE_CHECKING:
    from gateway.fleet.controller import Controller

log = logging.getLogger("switchyard.swap")
ACKNOWLEDGE_TIMEOUT_S = 10.0
POLL_S = 0.05


class SwapFailed(Exception):
    """The swap cannot be completed; the alias has not moved."""


class SwapRunner:
    """Runs every swap that is asked for, one task each. The row in the registry is the state: a successor goes on."""

    def __init__(self, controller: Controller, registry: Registry, drain_timeout_s: float) -> None:
        self._controller = controller
        self._registry = registry
        self._drain_timeout_s = drain_timeout_s
        self._running: dict[int, asyncio.Task[None]] = {}
        self._targets: dict[int, int] = {}

    def tasks(self) -> list[asyncio.Task[None]]:
        """Tasks of the swaps in progress."""
        return list(self._running.values())

    def versions(self) -> set[int]:
        """Version ids that a swap in progress brings in; they must not be retired."""
        return set(self._targets.values())

    async def start_pending(self) -> None:
        """Begin every swap in the queue that is not running yet."""
        for swap in await asyncio.to_thread(self._registry.swaps.pending):
            if swap.id not in self._running:
                self._targets[swap.id] = swap.to_version_id
                task = asyncio.create_task(self._run(swap), name=f"swap {swap.id}")
                self._running[swap.id] = task
                task.add_done_callback(partial(self._ended, swap.id))

    def _ended(self, swap_id: int, _task: asyncio.Task[None]) -> None:
        del self._running[swap_id]
        del self._targets[swap_id]

    async def _run(self, swap: SwapInfo) -> None:
        try:
            if swap.state in (REQUESTED, PRELOADING, VERIFIED):
                await self._bring_in(swap)
                revision = await asyncio.to_thread(self._registry.swaps.flip, swap.id)
                await self._acknowledged(swap, revision)
            if swap.state != DRAINING:
                await self._advance(swap, DRAINING)
            left = await self._drain(swap)
            await self._advance(swap, DONE, requests_left_on_old_version=left)
            log.info("swap %d: %s@%s is %s", swap.id, swap.adapter, swap.alias, swap.to_version)
        except (SwapFailed, RegistryError) as error:
            log.warning("swap %d failed: %s", swap.id, error)
            with suppress(Conflict):  # somebody else has finished it meanwhile
                await self._advance(swap, FAILED, error=str(error))
        except SQLAlchemyError as error:
            log.warning("swap %d will be gone on with: %s", swap.id, error)  # its row is still in the queue

    async def _advance(self, swap: SwapInfo, state: str, **detail: object) -> None:
        await asyncio.to_thread(self._registry.swaps.advance, swap.id, state, **detail)

    async def _bring_in(self, swap: SwapInfo) -> None:
        """Load and prove the version on every engine of its base; one engine must be there, and all must succeed."""
        await self._advance(swap, PRELOADING)
        version = await self._version(swap)
        homes = [engine for engine in self._controller.view().engines if engine.base_digest == version.base_digest]
        if not homes:
            raise SwapFailed(f"no healthy engine serves the base of {version.name} ({version.base_digest[:19]}…)")
        began = time.monotonic()
        try:
            await asyncio.gather(*(self._controller.ensure(home.url, version, full_proof=True) for home in homes))
        except ColdAdapterFailed as error:
            raise SwapFailed(error.reason) from error
        await self._advance(swap, VERIFIED, engines=[home.url for home in homes], preload_s=time.monotonic() - began)

    async def _version(self, swap: SwapInfo) -> VersionEntry:
        catalog = await asyncio.to_thread(self._registry.catalog)
        return catalog.versions_by_id[swap.to_version_id]

    async def _acknowledged(self, swap: SwapInfo, revision: int) -> None:
        """Cut-over is the last live worker's acknowledgement; a worker that stops reporting counts as gone."""
        began = time.monotonic()
        while time.monotonic() - began < ACKNOWLEDGE_TIMEOUT_S:
            workers = await asyncio.to_thread(self._registry.workers.live)
            if all(worker.acknowledged_revision >= revision for worker in workers):
                by = [worker.id for worker in workers]
                await self._advance(swap, FLIPPED, acknowledged_by=by, acknowledged_at_ms=now_ms())
                return
            await asyncio.sleep(POLL_S)
        late = [worker.id for worker in workers if worker.acknowledged_revision < revision]
        await self._advance(swap, FLIPPED, not_acknowledged_by=late)

    async def _drain(self, swap: SwapInfo) -> int:
        """Wait until no request runs on the version that the alias left; return how many still did at the deadline.

        A version that another alias or a split still sends traffic to never runs dry, and is not waited for.
        """
        old = swap.detail.get("from_version_id")
        catalog = await asyncio.to_thread(self._registry.catalog)
        if old is None or old in {version.id for version in catalog.wanted_versions()}:
            return 0
        deadline = time.monotonic() + self._drain_timeout_s
        while (running := self._running_on(old)) and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
        return running

    def _running_on(self, version_id: int) -> int:
        return sum(
            self._controller.in_flight.count(engine.url, engine.resident[version_id].name)
            for engine in self._controller.engines
            if version_id in engine.resident
        )
