"""The fleet's one writer: it alone loads and unloads adapters, plans their room, decides homes and executes swaps.

One of these runs for one term of leadership. Workers know it through `gateway.fleet.hub`: it publishes what they may
route to, they ask it for cold adapters and report what they have in flight.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gateway.engines.faults import EngineFault
from gateway.engines.managed import ManagedEngine
from gateway.fleet.books import Books
from gateway.fleet.court import Court
from gateway.fleet.departures import Departures
from gateway.fleet.duties.adapters import PlaceAdapters
from gateway.fleet.duties.archive import ArchiveUsage
from gateway.fleet.duties.books import KeepBooks
from gateway.fleet.duties.costs import KeepCosts
from gateway.fleet.duties.deletions import FinishDeletions
from gateway.fleet.duties.demand import CountDemand
from gateway.fleet.duties.departures import LetEnginesGo
from gateway.fleet.duties.engines import CheckEngines
from gateway.fleet.duties.experiments import DecideExperiments
from gateway.fleet.duties.facts import ReadFacts
from gateway.fleet.duties.files import SweepFiles
from gateway.fleet.duties.heads import TellHeads
from gateway.fleet.duties.jumps import TellOfJumps
from gateway.fleet.duties.orders import ReadOrders
from gateway.fleet.duties.quarantine import RetryQuarantined
from gateway.fleet.duties.responses import LookAfterResponses
from gateway.fleet.duties.retirements import WarnOfRetirements
from gateway.fleet.duties.rounds import Duty, Round, Rounds
from gateway.fleet.duties.shadows import LookAfterShadows
from gateway.fleet.duties.swaps import CarryOutSwaps
from gateway.fleet.engine_checks import EngineChecks
from gateway.fleet.engine_set import EngineSet
from gateway.fleet.hub import Hub
from gateway.fleet.load_record import LoadRecord
from gateway.fleet.load_turns import LoadLimits
from gateway.fleet.loading import Loading, Proof, Term
from gateway.fleet.placement import Placement, claims_in
from gateway.fleet.publication import Publication
from gateway.fleet.requests import Errands, WorkerRequests
from gateway.fleet.sampling import Sampling
from gateway.fleet.shared_slots import SharedSlots
from gateway.fleet.shares import SpreadShares
from gateway.fleet.status import fleet_document
from gateway.fleet.swap import SwapRunner
from gateway.fleet.trials import Trials
from gateway.fleet.view import ColdAdapterFailed, runs
from gateway.fleet.wire import (
    CatalogMoved,
    Disputed,
    FromController,
    Lied,
)
from gateway.metrics.leader import Naming, Traffic
from registry.catalog.snapshot import Catalog, VersionEntry
from registry.service import Registry
from telemetry.spans import Begins

log = logging.getLogger("switchyard.fleet")
LOOK_FOR_LOST_S = 1.0
LINK_GRACE_S = 1.0
"""How long a new controller waits for workers before it looks at engines: they know what was proven before it."""


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
    reserved_slots: int = 1
    """Slots of each engine that are kept for tenants that have none; not in seconds."""
    kept_seat_share: float = 0.125
    """The part of each engine's seats that is kept for tenants that have less than their share; not in seconds."""
    loads: LoadLimits = field(default_factory=LoadLimits)
    """Of one tenant on one engine; not in seconds."""
    response_days: int = 30
    """How long responses are kept of tenants that have no setting of their own; not in seconds."""
    outcome_days: int = 90
    """How long outcomes are kept; not in seconds."""
    pair_days: int = 7
    """How long the texts of copied requests are kept of tenants that have no setting of their own; not in seconds."""
    tells_operator: bool = False
    """Whether the operator has an address for events."""
    heads_every_s: float = 3600.0
    """How often the log is told where logs that are only appended to end."""
    naming: Naming = field(default_factory=Naming)
    """Who has a name in metrics."""


class Controller:
    """Owns every `ManagedEngine` during one term."""

    def __init__(
        self,
        engines: EngineSet,
        registry: Registry,
        catalog: Callable[[], Catalog],
        settings: ControllerSettings,
        hub: Hub,
        term: Term,
        tracing: Begins | None = None,
    ) -> None:
        self.engines = engines
        self.hub = hub
        self.swaps = SwapRunner(self, registry, term.token, settings.drain_timeout_s, tracing)
        self.term = term
        self.slots = SharedSlots(hub, settings.reserved_slots, lambda: len(catalog().adapters_of))
        self.books = Books(registry, term.token)
        self.sampling = Sampling()
        self.traffic = Traffic(settings.naming)
        self._registry = registry
        self._settings = settings
        self._publication = Publication()
        self.errands = Errands()
        self.requests = WorkerRequests(self, registry, catalog, f"controller {term.token}")
        self.checks = EngineChecks(self, catalog, settings.check_interval_s)
        record, claims = LoadRecord(self.sampling, self.traffic.fleet), claims_in(catalog, self.swaps.versions)
        self.loading = Loading(registry, hub, term, claims, self, record, limits=settings.loads, tracing=tracing)
        self.proof_slots = self.loading.proof_slots
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
            partial(self.loading.ensure, for_swap=False),
            self.announce_catalog,
            lambda: hub.trusted,
            lambda: not term.over,
            partial(self.proof_slots.one, waits=False),
        )
        self.departures = Departures(self)
        self._shares = SpreadShares(settings.kept_seat_share)
        hub.on_report = self._share
        self.trials = Trials(self._refuse)
        self._orders = ReadOrders(registry, hub, engines)
        self._experiments = DecideExperiments(registry, term.token, self.errands)
        self._facts = ReadFacts(registry, catalog, self.traffic, self.errands)
        self.rounds = Rounds(
            self._duties(), settings.reconcile_interval_s, self._pause_s, self.traffic.fleet.duty_failed
        )
        fleet = self.traffic.fleet
        fleet.engines, fleet.in_flight, fleet.duties = engines, hub.running_on, self.rounds.faults
        fleet.loading = self.loading.running_on

    def _duties(self) -> tuple[Duty, ...]:
        """In the order of a round."""
        registry, settings = self._registry, self._settings
        return (
            self._orders,
            CheckEngines(self.checks),
            CountDemand(self.placement, self.publish),
            LetEnginesGo(self.departures),
            PlaceAdapters(self.placement),
            KeepBooks(self.books, self.engines),
            KeepCosts(registry, self.engines, self.sampling, self.errands),
            RetryQuarantined(self.court, self.errands),
            FinishDeletions(registry, self.engines, self.errands),
            CarryOutSwaps(self.swaps),
            LookAfterResponses(registry, settings.response_days, settings.outcome_days, self.errands),
            LookAfterShadows(registry, settings.pair_days, self.errands),
            SweepFiles(registry, self.errands),
            ArchiveUsage(registry, self.errands),
            WarnOfRetirements(registry, self.errands),
            TellHeads(registry, settings.heads_every_s, self.errands),
            TellOfJumps(registry, self.errands, tells=settings.tells_operator),
            self._experiments,
            self._facts,
        )

    # What workers ask for

    def snapshot(self) -> list[FromController]:
        """Everything that was published, for a worker that links now."""
        return self._publication.snapshot(self.engines)

    async def ensure(
        self, engine_url: str, version: VersionEntry, *, for_swap: bool = False, proof: Proof = Proof.IN_TURN
    ) -> None:
        """Make a version resident on an engine, or have it there at all if its proof comes later; callers who ask at
        once share one load. Raises `ColdAdapterFailed`.

        A swap has every probe replayed, and may use the place that is kept free for it. An engine that this controller
        has not looked at yet is waited for, as the caller does not care that controllers change.
        """
        engine = self.engines.at(engine_url)
        if engine is not None:
            await self.checks.looked_at(engine)
        if engine is None or not engine.health.serves:
            fault = engine.health.fault if engine is not None else "unknown"
            raise ColdAdapterFailed(f"the engine is down ({fault})", permanent=False)
        await self.loading.ensure(engine, version, for_swap=for_swap, proof=proof)
        self.publish()  # it may have got there this moment: who is told that it is there must find it in its view

    def _share(self) -> None:
        self._shares.spread(self.hub.links, self.engines)

    def lost(self, engine_url: str, name: str) -> None:
        """An engine said that it does not know an adapter that we thought resident."""
        engine = self.engines.at(engine_url)
        if engine is not None:
            engine.forget(name)
        self.publish()
        self.wake()

    def dispute(self, disputed: Disputed) -> None:
        """A worker says that an engine refused what it should perhaps have answered."""
        engine = self.engines.at(disputed.url)
        if engine is not None and self.trials.is_due(engine, disputed):
            self.errands.run(self.trials.try_now(engine, disputed.endpoint))

    def lied(self, lied: Lied) -> None:
        """A worker says that an engine has answered as none does: one that goes on with it is refused."""
        engine = self.engines.at(lied.url)
        if engine is not None and (reason := engine.conduct.note(lied.breach, lied.tenant)) and engine.health.serves:
            self._refuse(engine, reason)

    def _refuse(self, engine: ManagedEngine, reason: str) -> None:
        self.court.refuse(engine, reason)
        self.publish()
        self.wake()

    async def judge(
        self, engine: ManagedEngine, version: VersionEntry, error: EngineFault, slot: AbstractAsyncContextManager[bool]
    ) -> ColdAdapterFailed:
        """What the engine's refusal of the version means."""
        return await self.court.judge(engine, version, error, slot)

    def proven(self, engine: ManagedEngine) -> None:
        """An engine has proven what it holds."""
        self.court.note(engine)

    def wake(self) -> None:
        """Look at engines, catalog and swaps now: something changed, or a request could not reach an engine."""
        self.rounds.wake()

    # What swaps and the admin API use

    def document(self) -> dict[str, Any]:
        """Everything that is known, for people. Workers are told of it first: who reads that an engine is out of
        traffic must be able to tell by the revision when the last worker sends it nothing more.
        """
        self.publish()
        known = fleet_document(self.term.token, self.hub, self.engines, self.placement.demand, self.swaps.ids())
        for engine in known["engines"]:
            engine["loads"] = self.traffic.fleet.loads_of(engine["url"])
        return {**known, "duties": {name: fault or "ok" for name, fault in self.rounds.faults().items()}}

    def preload(self) -> None:
        """Begin loading what should lie on engines and does not."""
        self.placement.preload()

    def announce_catalog(self, revision: int) -> None:
        """Tell workers to look at the catalog now, and not at their next poll."""
        self.hub.broadcast(CatalogMoved(revision))

    def publish(self) -> int:
        """Tell workers what changed; the revision of the view that has it."""
        changes = self._publication.changes(self.engines, self.placement.demand.copies)
        self.slots.fit({engine.url: runs(engine.declared, engine.slots) for engine in self.engines})
        return self.hub.publish(changes) if changes else self.hub.revision

    # The rounds

    async def run(self) -> None:
        """Do the duties of a leader, until cancelled."""
        await self._orders.do(Round(reconciles=True, woken=True))
        await self.hub.everybody_linked(LINK_GRACE_S)
        await self.rounds.run()

    def _pause_s(self) -> float:
        """Until the next round. Nobody's failed request tells of an engine that is back, so look for it."""
        all_serve = all(engine.health.serves for engine in self.engines)
        return self._settings.check_interval_s if all_serve else min(self._settings.check_interval_s, LOOK_FOR_LOST_S)

    async def close(self) -> None:
        """Stop loads and swaps, finish the books, close connections."""
        # A load that ends just now begins the next; what has ended leaves its table at the loop's next turn.
        while tasks := [*self.checks.tasks(), *self.loading.tasks.values(), *self.swaps.tasks(), *self.errands.tasks()]:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.slots.close()
        await asyncio.to_thread(self._experiments.close)
        await self.books.close(self.engines)
        for engine in self.engines:
            await engine.close()
