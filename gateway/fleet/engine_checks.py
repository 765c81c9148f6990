"""Looking at the engines, again and again: which of them serve, and what lies on them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from gateway.engines.faults import EngineFault
from gateway.engines.managed import ManagedEngine
from gateway.engines.residency import Finder
from gateway.fleet.books import Books
from gateway.fleet.court import Court
from gateway.fleet.hub import Hub
from gateway.fleet.loading import Loading
from gateway.fleet.sampling import Sampling
from gateway.fleet.trials import Trials
from gateway.fleet.view import ColdAdapterFailed
from gateway.metrics.leader import Traffic
from registry.catalog.snapshot import Catalog, VersionEntry

log = logging.getLogger("switchyard.fleet")
LOOK_POLL_S = 0.02


class CheckContext(Protocol):
    """What checks need of the controller around them."""

    @property
    def engines(self) -> Sequence[ManagedEngine]:
        """Every engine of the fleet."""

    @property
    def hub(self) -> Hub:
        """The links to workers."""

    @property
    def loading(self) -> Loading:
        """Loads on engines."""

    @property
    def court(self) -> Court:
        """Who proved what."""

    @property
    def trials(self) -> Trials:
        """Whether engines answer as they should."""

    @property
    def books(self) -> Books:
        """What engines count."""

    @property
    def sampling(self) -> Sampling:
        """What they count while they work."""

    @property
    def traffic(self) -> Traffic:
        """What waits in them."""

    def publish(self) -> int:
        """Tell workers what changed; the revision of the view that has it."""

    def wake(self) -> None:
        """Begin the next round now."""


class EngineChecks:
    """Of one controller's term: at most one check of an engine at a time."""

    def __init__(self, controller: CheckContext, catalog: Callable[[], Catalog], interval_s: float) -> None:
        """`interval_s`: how long a round waits for the slowest engine."""
        self._controller = controller
        self._catalog = catalog
        self._interval_s = interval_s
        self._running: dict[str, asyncio.Task[None]] = {}
        """Checks in progress, by engine URL."""

    def tasks(self) -> list[asyncio.Task[None]]:
        """Tasks of the checks in progress."""
        return list(self._running.values())

    async def check_all(self, *, reconcile: bool) -> None:
        """Look at every engine. One that does not answer keeps its own check waiting, and nobody else's round."""
        for engine in self._controller.engines:
            self.look_at(engine, reconcile=reconcile)
        if self._running:
            await asyncio.wait(self._running.values(), timeout=self._interval_s)

    def look_at(self, engine: ManagedEngine, *, reconcile: bool) -> asyncio.Task[None]:
        """The check that runs, or one that begins now."""
        check = self._running.get(engine.url)
        if check is None or check.done():  # a finished one stays in the table until the loop's next turn
            check = asyncio.create_task(self._check(engine, reconcile=reconcile), name=f"check {engine.url}")
            self._running[engine.url] = check
            check.add_done_callback(partial(self._ended, engine))
        return check

    async def stop(self, engine: ManagedEngine) -> None:
        """End the check that runs, if one does: the engine has left the fleet."""
        if (check := self._running.pop(engine.url, None)) is not None:
            check.cancel()
            await asyncio.wait((check,))

    async def looked_at(self, engine: ManagedEngine) -> None:
        """Return when what the engine is has been found out in this term, and what lies on it is up to date.

        When it has left the fleet, at once.
        """
        while engine.health.state in ("new", "starting"):
            await asyncio.sleep(LOOK_POLL_S)
        # A load in ignorance of a restart would compare with a base that is not back.
        while engine.health.in_doubt and engine in self._controller.engines:
            await asyncio.wait([self.look_at(engine, reconcile=False)])

    async def all_looked_at(self, base_digest: str, timeout_s: float) -> None:
        """Return when every engine of a base has been looked at in this term, or the time is up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                for engine in self._controller.engines:
                    if engine.declared.base_digest == base_digest:
                        while engine.health.state in ("new", "starting"):
                            await asyncio.sleep(LOOK_POLL_S)

    def _ended(self, engine: ManagedEngine, check: asyncio.Task[None]) -> None:
        if self._running.get(engine.url) is check:
            del self._running[engine.url]
        if not check.cancelled() and (error := check.exception()) is not None:
            log.error("checking engine %s failed", engine.url, exc_info=error)
            engine.health.down(f"its check failed: {error!r}")
        self._controller.publish()

    async def _check(self, engine: ManagedEngine, *, reconcile: bool) -> None:
        controller = self._controller
        new_boot = await engine.check(
            self._finder(engine),
            in_flight=controller.hub.running_on(engine.url) + controller.loading.running_on(engine.url),
            heard_s=controller.hub.heard_s.get(engine.url, 0.0),
            examine=partial(self._examine, engine),
            on_starting=controller.publish,
        )
        if engine.health.serves:
            controller.court.note(engine)
        engine.residency.mark_published(controller.publish())
        controller.books.note(engine)
        controller.sampling.note(engine, controller.hub.running_on(engine.url))
        controller.traffic.fleet.note(engine)
        if new_boot:
            controller.loading.forget_failures(engine.url)
            controller.court.retry_soon()
            controller.wake()
        elif not engine.health.serves:
            controller.loading.give_up(engine)
        else:
            await self._put_in_order(engine, reconcile=reconcile)

    async def _put_in_order(self, engine: ManagedEngine, *, reconcile: bool) -> None:
        """Unload what nobody uses any more, and find out what the engine has lost."""
        try:
            for version_id in await engine.reconcile() if reconcile else ():
                log.warning("engine %s lost version id %d", engine.url, version_id)
            if engine.residency.leaving and not engine.loading.locked():
                async with engine.loading:
                    await self._controller.loading.unload_cleared(engine)
        except (EngineFault, ColdAdapterFailed) as error:
            log.warning("engine %s could not be put in order: %s", engine.url, error)

    async def _examine(self, engine: ManagedEngine) -> None:
        await self._controller.trials.examine(engine)
        await self._controller.court.examine(engine)

    def _finder(self, engine: ManagedEngine) -> Finder:
        by_digest: dict[str, list[VersionEntry]] = {}

        def versions(folder: Path) -> Sequence[VersionEntry]:
            if not by_digest:  # most checks find a boot that is known, and ask nothing
                for version in self._catalog().versions_by_id.values():
                    if version.base_digest == engine.declared.base_digest and version.quarantined is None:
                        by_digest.setdefault(version.manifest_digest, []).append(version)
            return by_digest.get(f"sha256:{folder.name}", ())

        return Finder(versions, self._controller.hub.trusted)
