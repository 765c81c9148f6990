"""One promote, rollback or ramp, executed: preload and prove → flip → every worker acknowledges → drain.

The flip moves the alias, or changes its split. A ramp drains nothing: requests end on the arm that they began with.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from functools import partial
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from gateway.fleet.engine_checks import EngineChecks
from gateway.fleet.hub import Hub
from gateway.fleet.placement import Placement
from gateway.fleet.view import ColdAdapterFailed
from registry.catalog.snapshot import VersionEntry
from registry.db import now_ms
from registry.errors import Conflict, RegistryError
from registry.service import Registry
from registry.splits.rows import BASE_ARM
from registry.swaps.infos import DONE, DRAINING, FAILED, FLIPPED, PRELOADING, REQUESTED, VERIFIED, SwapInfo
from telemetry.spans import Begins, Span, part_of, whole

log = logging.getLogger("switchyard.swap")
ACKNOWLEDGE_TIMEOUT_S = 10.0
FIRST_LOOK_TIMEOUT_S = 10.0
PRELOAD_ROUNDS = 4
PRELOAD_PAUSE_S = 1.0
POLL_S = 0.02
REPORTS_WITHIN_S = 2.0
"""A worker reports once a second, and tries again as often."""


class SwapFailed(Exception):
    """The swap cannot be completed; the alias and its split are as before."""


class SwapContext(Protocol):
    """What swaps need of the controller around them."""

    @property
    def hub(self) -> Hub:
        """The links to workers."""

    @property
    def placement(self) -> Placement:
        """Where versions live, and how busy they are."""

    def announce_catalog(self, revision: int) -> None:
        """Tell workers of a newer catalog."""

    async def ensure(self, engine_url: str, version: VersionEntry, *, for_swap: bool = False) -> None:
        """Make a version resident on an engine. Raises `ColdAdapterFailed`."""

    @property
    def checks(self) -> EngineChecks:
        """Looks at engines."""


class SwapRunner:
    """Runs every swap that is asked for, one task each. The row in the registry is the state: a successor goes on."""

    def __init__(
        self,
        controller: SwapContext,
        registry: Registry,
        token: int,
        drain_timeout_s: float,
        tracing: Begins | None = None,
    ) -> None:
        self._controller = controller
        self._registry = registry
        self._token = token
        self._drain_timeout_s = drain_timeout_s
        self._tracing = tracing
        self._running: dict[int, asyncio.Task[None]] = {}
        self._targets: dict[int, set[int]] = {}

    def tasks(self) -> list[asyncio.Task[None]]:
        """Tasks of the swaps in progress."""
        return list(self._running.values())

    def ids(self) -> list[int]:
        """Ids of the swaps in progress."""
        return list(self._running)

    def versions(self) -> set[int]:
        """Version ids that a swap in progress brings in; they must not be retired."""
        return set().union(*self._targets.values())

    async def start_pending(self) -> None:
        """Begin every swap in the queue that is not running yet. One that ends while the queue is read is not begun
        again: it may have been read as it was before.
        """
        known = set(self._running)
        for swap in await asyncio.to_thread(self._registry.swaps.pending):
            if swap.id not in known and swap.id not in self._running:
                self._targets[swap.id] = _reached(swap)
                task = asyncio.create_task(self._run(swap), name=f"swap {swap.id}")
                self._running[swap.id] = task
                task.add_done_callback(partial(self._ended, swap.id))

    def _ended(self, swap_id: int, task: asyncio.Task[None]) -> None:
        del self._running[swap_id]
        del self._targets[swap_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("swap %d broke off and will be gone on with", swap_id, exc_info=error)

    async def _run(self, swap: SwapInfo) -> None:
        try:
            with whole(self._tracing, f"swap {swap.adapter}@{swap.alias}") as span:
                if span is not None:
                    span.set(swap=swap.id, adapter=swap.adapter, alias=swap.alias, goal=swap.goal, kind=swap.kind)
                await self._carry_out(swap, span)
            log.info("swap %d: %s@%s is %s", swap.id, swap.adapter, swap.alias, swap.goal)
        except (SwapFailed, RegistryError) as error:
            log.warning("swap %d failed: %s", swap.id, error)
            with suppress(Conflict):  # somebody else has finished it meanwhile
                await self._advance(swap, FAILED, error=str(error))
        except SQLAlchemyError as error:
            log.warning("swap %d will be gone on with: %s", swap.id, error)  # its row is still in the queue

    async def _carry_out(self, swap: SwapInfo, span: Span | None) -> None:
        """What is left of it to do, each phase as a part of the span."""
        revision: int | None = None
        if swap.state in (REQUESTED, PRELOADING, VERIFIED):
            with part_of(span, "preload"):
                await self._bring_in(swap)
            with part_of(span, "flip"):
                revision = await asyncio.to_thread(self._registry.swaps.flip, swap.id, fence=self._token)
        elif swap.state == FLIPPED:  # the predecessor did not live to see it acknowledged
            revision = swap.detail["revision"]
        if revision is not None:
            with part_of(span, "acknowledge"):
                await self._acknowledged(swap, revision)
        drained: dict[str, object] = {}
        if swap.kind == "move":
            with part_of(span, "drain"):
                drained = await self._drain(swap)
        await self._advance(swap, DONE, **drained)

    async def _advance(self, swap: SwapInfo, state: str, **detail: object) -> None:
        await asyncio.to_thread(self._registry.swaps.advance, swap.id, state, fence=self._token, **detail)

    async def _bring_in(self, swap: SwapInfo) -> None:
        """Load and prove what traffic will go to on its homes: as many as the version has that it takes over from."""
        await self._advance(swap, PRELOADING)
        catalog = await asyncio.to_thread(self._registry.catalog)
        versions = [catalog.versions_by_id[version_id] for version_id in sorted(_reached(swap))]
        if (old := swap.detail.get("from_version_id")) is not None:
            for version in versions:
                self._controller.placement.demand.inherit(version.id, old)
        for base_digest in {version.base_digest for version in versions}:
            await self._controller.checks.all_looked_at(base_digest, FIRST_LOOK_TIMEOUT_S)
        began = time.monotonic()
        engines: dict[str, None] = {}
        for version in versions:
            engines |= dict.fromkeys(await self._load(version))
        preload_s = round(time.monotonic() - began, 3)
        await self._advance(swap, VERIFIED, engines=list(engines), preload_s=preload_s)

    async def _load(self, version: VersionEntry) -> list[str]:
        """Bring a version in; URLs of the homes that hold it now. Raises `SwapFailed`.

        One must succeed, in one of a few rounds: engines die, and loads fail for reasons of the moment, so the homes
        are looked up anew for each round. A refusal of the version itself ends the swap at once.
        """
        nobody = f"no healthy engine serves the base of {version.name} ({version.base_digest[:19]}…)"
        failure = nobody
        for left in reversed(range(PRELOAD_ROUNDS)):
            loaded, why = await self._load_on_homes(version)
            failure = why or (failure if failure.startswith(nobody) else f"{nobody}; before that: {failure}")
            if loaded:
                return loaded
            if left:
                await asyncio.sleep(PRELOAD_PAUSE_S)
        raise SwapFailed(failure)

    async def _load_on_homes(self, version: VersionEntry) -> tuple[list[str], str]:
        """URLs of the homes that hold the version now, and what went wrong on the others, "" when there are none.

        Raises `SwapFailed`.
        """
        homes = self._controller.placement.homes_of(version)
        loads = (self._controller.ensure(home.url, version, for_swap=True) for home in homes)
        results = await asyncio.gather(*loads, return_exceptions=True)
        failure = ""
        loaded = []
        for home, result in zip(homes, results, strict=True):
            if result is None:
                loaded.append(home.url)
            elif not isinstance(result, ColdAdapterFailed):
                raise result
            elif result.permanent:
                raise SwapFailed(result.reason) from result
            else:
                failure = result.reason
        proving = {home.url for home in homes if home.profile.generates}
        if proving and not proving.intersection(loaded):  # only they have measured what it does
            loaded = []
        return loaded, failure

    async def _acknowledged(self, swap: SwapInfo, revision: int) -> None:
        """Cut-over is the last live worker's acknowledgement; a worker that stops reporting counts as gone.

        Such a worker also stops serving by itself (`CatalogWatch.lapsed`), except while the database lets nobody write:
        so after that one that is still linked gets time to report.
        """
        self._controller.announce_catalog(revision)
        hub = self._controller.hub
        began = time.monotonic()
        by: dict[str, int] = {}
        while time.monotonic() - began < ACKNOWLEDGE_TIMEOUT_S:
            workers = await asyncio.to_thread(self._registry.workers.live)
            for worker in workers:
                if worker.acknowledged_revision >= revision:
                    by.setdefault(worker.id, now_ms())
            awaited = {worker.id for worker in workers} | hub.newcomers(self._registry.workers.lease_s)
            if time.monotonic() - began < REPORTS_WITHIN_S:
                awaited |= hub.links.keys()
            if awaited <= by.keys():
                await self._advance(swap, FLIPPED, acknowledged_by=by, acknowledged_at_ms=now_ms())
                return
            await asyncio.sleep(POLL_S)
        late = sorted(awaited - by.keys())
        await self._advance(swap, FLIPPED, acknowledged_by=by, not_acknowledged_by=late)

    async def _drain(self, swap: SwapInfo) -> dict[str, object]:
        """Wait until no request runs on the version that the alias left; what the record says of it."""
        if swap.state != DRAINING:
            await self._advance(swap, DRAINING)
        began = time.monotonic()
        left = await self._run_dry(swap)
        return {"requests_left_on_old_version": left, "drain_s": round(time.monotonic() - began, 3)}

    async def _run_dry(self, swap: SwapInfo) -> int | None:
        """How many requests still run on the old version at the deadline; `None` when a worker has not said.

        Only reports count that every worker made after the cut-over: before it, more may have begun. A version that
        another alias or a split still sends traffic to never runs dry, and is not waited for.
        """
        old = swap.detail.get("from_version_id")
        catalog = await asyncio.to_thread(self._registry.catalog)
        if old is None or old in {version.id for version in catalog.wanted_versions()}:
            return 0
        deadline = time.monotonic() + self._drain_timeout_s
        hub = self._controller.hub
        revision = hub.publish(())
        left: int | None = None
        while left != 0 and time.monotonic() < deadline:
            await hub.next_report(POLL_S)
            left = hub.given(old) if hub.confirmed_by_all(revision) else None
        return left


def _reached(swap: SwapInfo) -> set[int]:
    """Ids of the versions that get traffic by the swap."""
    return {arm.version_id for arm in swap.arms if arm.weight and arm.version_id != BASE_ARM}
