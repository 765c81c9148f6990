"""The fleet's one writer: it alone loads and unloads adapters, plans their room, decides homes and executes swaps.

One of these runs for one term of leadership. Workers know it through `gateway.fleet.hub`: it publishes what they may
route to, they ask it for cold adapters and report what they have in flight.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from gateway.engines.managed import ManagedEngine
from gateway.engines.residency import Finder
from gateway.engines.vllm.control import EngineFault
from gateway.fleet.books import Books
from gateway.fleet.court import Court
from gateway.fleet.hub import Hub, WorkerLink
from gateway.fleet.loading import Loading, Term
from gateway.fleet.placement import Placement
from gateway.fleet.publication import Publication
from gateway.fleet.status import fleet_document
from gateway.fleet.swap import SwapRunner
from gateway.fleet.trials import Trials
from gateway.fleet.view import ColdAdapterFailed
from gateway.fleet.wire import (
    Borrow,
    CatalogMoved,
    Disputed,
    Ensure,
    Ensured,
    FromController,
    FromWorker,
    Inspect,
    Inspected,
    Lent,
    Lost,
    Wake,
)
from gateway.limits.lending import Pool
from registry.catalog.snapshot import Catalog, VersionEntry
from registry.service import Registry

log = logging.getLogger("switchyard.fleet")
SHORTEST_ROUND_S = 0.05
"""However many requests fail on an engine, it is not looked at more often."""
LOOK_FOR_LOST_S = 1.0
LINK_GRACE_S = 1.0
"""How long a new controller waits for workers before it looks at engines: they know what was proven before it."""
LOOK_POLL_S = 0.02
ANSWER_WITHIN_S = 600.0
"""Longer than any load that goes well. Requests give up much sooner; this ends what nobody expected."""


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """How the controller paces itself, in seconds."""

    check_interval_s: float = 1.0
    reconcile_interval_s: float = 5.0
    retire_after_s: float = 300.0
    """An adapter that nothing points at and nobody used for so long is unloaded."""
    drain_timeout_s: float = 300.0
    """How long a swap waits for requests on the old version before it calls itself done without them."""
    requests_per_home: float = 32.0
    """Mean requests in flight on an adapter for each engine that it is given."""


class Controller:
    """Owns every `ManagedEngine` during one term."""

    def __init__(
        self,
        engines: Sequence[ManagedEngine],
        registry: Registry,
        catalog: Callable[[], Catalog],
        zero_adapters: dict[str, Path],
        settings: ControllerSettings,
        hub: Hub,
        term: Term,
    ) -> None:
        self.engines = engines
        self.hub = hub
        self.swaps = SwapRunner(self, registry, term.token, settings.drain_timeout_s)
        self.term = term
        self.books = Books(registry, term.token)
        self._registry = registry
        self._catalog = catalog
        self._zero_adapters = zero_adapters
        self._settings = settings
        self._publication = Publication()
        self._pool = Pool(f"controller {term.token}")
        self.loading = Loading(registry, hub, term, self.swaps.versions, self)
        self.placement = Placement(
            engines,
            catalog,
            hub,
            self.loading,
            self.swaps.versions,
            requests_per_home=settings.requests_per_home,
            retire_after_s=settings.retire_after_s,
        )
        self.court = Court(
            engines,
            registry,
            catalog,
            self._second_opinion,
            self.announce_catalog,
            lambda: hub.trusted,
            lambda: not term.over,
        )
        self.trials = Trials(self._refuse)
        self._checks: dict[str, asyncio.Task[None]] = {}
        self._errands: set[asyncio.Task[None]] = set()
        self._being_answered: set[tuple[str, int]] = set()
        """Worker and question: a worker that hears nothing asks again."""
        self._retrying: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    # What workers ask for

    def snapshot(self) -> list[FromController]:
        """Everything that was published, for a worker that links now."""
        return self._publication.snapshot(self.engines)

    def on_message(self, link: WorkerLink, message: FromWorker) -> None:
        """One message of a worker other than its reports."""
        match message:
            case Ensure():
                self._run_errand(self._answer(link, message))
            case Lost():
                self.lost(message.url, message.name)
            case Disputed():
                self._dispute(message)
            case Wake():
                self.wake()
            case Borrow():
                link.send(Lent(message.id, self._pool.lend(message.writer, message.caps, message.rates)))
            case Inspect():
                self._run_errand(self._tell(link, message.id))

    async def _answer(self, link: WorkerLink, asked: Ensure) -> None:
        """Whatever becomes of the load, the worker hears of it."""
        asking = (link.worker, asked.id)
        if asking in self._being_answered:
            return
        self._being_answered.add(asking)
        try:
            ended = await self._ensured(asked)
        finally:
            self._being_answered.discard(asking)
        answering = self.hub.links.get(link.worker, link)  # it may have linked anew meanwhile
        answering.send(ended)

    async def _ensured(self, asked: Ensure) -> Ensured:
        version = self._catalog().versions_by_id.get(asked.version)
        failure, permanent = "", False
        try:
            if version is None:
                version = (await asyncio.to_thread(self._registry.catalog)).versions_by_id[asked.version]
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self.ensure(asked.url, version)
        except TimeoutError:
            failure = f"version id {asked.version} was not loaded within {ANSWER_WITHIN_S:g} s"
        except ColdAdapterFailed as error:
            failure, permanent = error.reason, error.permanent
        except (KeyError, SQLAlchemyError) as error:
            failure = f"version id {asked.version} cannot be looked up: {error!r}"
        except Exception as error:  # the worker must hear something, or nobody asks for this version ever again
            log.exception("loading version id %d on %s failed", asked.version, asked.url)
            failure = f"version id {asked.version} could not be loaded: {error!r}"
        return Ensured(asked.id, failure, permanent)

    async def _tell(self, link: WorkerLink, question: int) -> None:
        link.send(Inspected(question, self.document()))

    def _run_errand(self, errand: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(errand)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
        return task

    async def ensure(self, engine_url: str, version: VersionEntry, *, for_swap: bool = False) -> None:
        """Make a version resident on an engine; callers who ask at once share one load. Raises `ColdAdapterFailed`.

        A swap has every probe replayed, and may use the place that is kept free for it. An engine that this controller
        has not looked at yet is waited for, as the caller does not care that controllers change.
        """
        engine = self.engine(engine_url)
        if engine is not None:
            await self._looked_at(engine)
            while (
                engine.health.in_doubt
            ):  # a load in ignorance of the restart would compare with a base that is not back
                await asyncio.wait([self._look_at(engine, reconcile=False)])
        if engine is None or not engine.health.serves:
            fault = engine.health.fault if engine is not None else "unknown"
            raise ColdAdapterFailed(f"the engine is down ({fault})", permanent=False)
        await self.loading.ensure(engine, version, for_swap=for_swap)
        self.publish()  # it may have got there this moment: who is told that it is there must find it in its view

    async def _looked_at(self, engine: ManagedEngine) -> None:
        while engine.health.state in ("new", "starting"):
            await asyncio.sleep(LOOK_POLL_S)

    async def all_looked_at(self, base_digest: str, timeout_s: float) -> None:
        """Return when every engine of a base has been looked at in this term, or the time is up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                for engine in self.engines:
                    if engine.declared.base_digest == base_digest:
                        await self._looked_at(engine)

    def lost(self, engine_url: str, name: str) -> None:
        """An engine said that it does not know an adapter that we thought resident."""
        engine = self.engine(engine_url)
        if engine is not None:
            engine.forget(name)
        self.publish()
        self.wake()

    def _dispute(self, disputed: Disputed) -> None:
        engine = self.engine(disputed.url)
        if engine is not None and self.trials.is_due(engine, disputed):
            self._run_errand(self.trials.try_now(engine, disputed.endpoint))

    def _refuse(self, engine: ManagedEngine, reason: str) -> None:
        self.court.refuse(engine, reason)
        self.publish()
        self.wake()

    async def _examine(self, engine: ManagedEngine) -> None:
        await self.trials.examine(engine)
        await self.court.examine(engine)

    async def _second_opinion(self, engine: ManagedEngine, version: VersionEntry) -> None:
        await self.loading.ensure(engine, version, for_swap=False)

    async def judge(self, engine: ManagedEngine, version: VersionEntry, error: EngineFault) -> ColdAdapterFailed:
        """What the engine's refusal of the version means."""
        return await self.court.judge(engine, version, error)

    def proven(self, engine: ManagedEngine) -> None:
        """An engine has proven what it holds."""
        self.court.note(engine)

    def wake(self) -> None:
        """Look at engines, catalog and swaps now: something changed, or a request could not reach an engine."""
        self._wake.set()

    # What swaps and the admin API use

    def engine(self, url: str) -> ManagedEngine | None:
        """The engine at a URL."""
        return next((engine for engine in self.engines if engine.url == url), None)

    def document(self) -> dict[str, Any]:
        """Everything that is known, for people. Workers are told of it first: who reads that an engine is out of
        traffic must be able to tell by the revision when the last worker sends it nothing more.
        """
        self.publish()
        return fleet_document(self.term.token, self.hub, self.engines, self.placement.demand, self.swaps.ids())

    def preload(self) -> None:
        """Begin loading what should lie on engines and does not."""
        self.placement.preload()

    def announce_catalog(self, revision: int) -> None:
        """Tell workers to look at the catalog now, and not at their next poll."""
        self.hub.broadcast(CatalogMoved(revision))

    def publish(self) -> int:
        """Tell workers what changed; the revision of the view that has it."""
        changes = self._publication.changes(self.engines, self.placement.demand.copies)
        return self.hub.publish(changes) if changes else self.hub.revision

    # The loop

    async def run(self) -> None:
        """Check engines, bring wanted versions in, execute swaps; until cancelled."""
        reconciled_at, woken = 0.0, True
        await self._read_orders()
        await self.hub.everybody_linked(LINK_GRACE_S)
        while True:
            due = time.monotonic() - reconciled_at >= self._settings.reconcile_interval_s
            if due:
                reconciled_at = time.monotonic()
            await self._read_orders()
            await self._check_all(reconcile=due)
            self.placement.observe_demand()
            self.publish()
            if due or woken:
                self.preload()
            if due:
                self.placement.retire_unwanted()
                await self.books.keep(self.engines)
                self._retry_quarantined()
            try:
                await self.swaps.start_pending()
            except SQLAlchemyError as error:
                log.warning("swaps wait for the database: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._wake.wait()
            await asyncio.sleep(SHORTEST_ROUND_S)
            woken = self._wake.is_set()
            self._wake.clear()

    def _retry_quarantined(self) -> None:
        if self._retrying is None or self._retrying.done():
            self._retrying = self._run_errand(self.court.retry_quarantined())

    def _pause_s(self) -> float:
        """Until the next round. Nobody's failed request tells of an engine that is back, so look for it."""
        all_serve = all(engine.health.serves for engine in self.engines)
        return self._settings.check_interval_s if all_serve else min(self._settings.check_interval_s, LOOK_FOR_LOST_S)

    async def _read_orders(self) -> None:
        """Which workers live, and which engines are drained; without the database nothing is unloaded."""
        try:
            live = await asyncio.to_thread(self._registry.workers.live)
            drains = await asyncio.to_thread(self._registry.drains.all)
        except SQLAlchemyError as error:
            self.hub.expected = None
            log.warning("the database is away, so nothing is unloaded: %s", error)
            return
        self.hub.expected = frozenset(worker.id for worker in live)
        for engine in self.engines:
            engine.health.drained = engine.url in drains

    async def _check_all(self, *, reconcile: bool) -> None:
        """Look at every engine. One that does not answer keeps its own check waiting, and nobody else's round."""
        for engine in self.engines:
            self._look_at(engine, reconcile=reconcile)
        if self._checks:
            await asyncio.wait(self._checks.values(), timeout=self._settings.check_interval_s)

    def _look_at(self, engine: ManagedEngine, *, reconcile: bool) -> asyncio.Task[None]:
        """The check that runs, or one that begins now."""
        check = self._checks.get(engine.url)
        if check is None or check.done():  # a finished one stays in the table until the loop's next turn
            check = asyncio.create_task(self._check(engine, reconcile=reconcile), name=f"check {engine.url}")
            self._checks[engine.url] = check
            check.add_done_callback(partial(self._check_ended, engine))
        return check

    def _check_ended(self, engine: ManagedEngine, check: asyncio.Task[None]) -> None:
        if self._checks.get(engine.url) is check:
            del self._checks[engine.url]
        if not check.cancelled() and (error := check.exception()) is not None:
            log.error("checking engine %s failed", engine.url, exc_info=error)
            engine.health.down(f"its check failed: {error!r}")
        self.publish()

    async def _check(self, engine: ManagedEngine, *, reconcile: bool) -> None:
        new_boot = await engine.check(
            self._finder(engine),
            self._zero_adapters[engine.declared.base_digest],
            in_flight=self.hub.running_on(engine.url) + self.loading.running_on(engine.url),
            heard_s=self.hub.heard_s.get(engine.url, 0.0),
            examine=partial(self._examine, engine),
            on_starting=self.publish,
        )
        if engine.health.serves:
            self.court.note(engine)
        engine.residency.told(self.publish())
        self.books.note(engine)
        if new_boot:
            self.loading.forget_failures(engine.url)
            self.court.retry_soon()
            self.wake()
        elif not engine.health.serves:
            self.loading.give_up(engine)
        else:
            try:
                for version_id in await engine.reconcile() if reconcile else ():
                    log.warning("engine %s lost version id %d", engine.url, version_id)
                if engine.residency.leaving and not engine.loading.locked():
                    async with engine.loading:
                        await self.loading.unload_cleared(engine)
            except (EngineFault, ColdAdapterFailed) as error:
                log.warning("engine %s could not be put in order: %s", engine.url, error)

    def _finder(self, engine: ManagedEngine) -> Finder:
        by_digest: dict[str, list[VersionEntry]] = {}

        def versions(folder: Path) -> Sequence[VersionEntry]:
            if not by_digest:  # most checks find a boot that is known, and ask nothing
                for version in self._catalog().versions_by_id.values():
                    if version.base_digest == engine.declared.base_digest and version.quarantined is None:
                        by_digest.setdefault(version.manifest_digest, []).append(version)
            return by_digest.get(f"sha256:{folder.name}", ())

        return Finder(versions, self.hub.trusted)

    async def close(self) -> None:
        """Stop loads and swaps, finish the books, close connections."""
        tasks = [*self._checks.values(), *self.loading.tasks.values(), *self.swaps.tasks(), *self._errands]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.books.close(self.engines)
        for engine in self.engines:
            await engine.close()
