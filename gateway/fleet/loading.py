"""Loading and unloading on every engine: one load for all who ask, one at a time an engine, by turns of tenants, and
room made for it. What was loaded is proven beside the next load.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

from sqlalchemy.exc import SQLAlchemyError

from gateway.engines.faults import FAILS, EngineFault
from gateway.engines.managed import ManagedEngine
from gateway.fleet.arrivals import Arrivals
from gateway.fleet.eviction import Claims, first_to_go
from gateway.fleet.hub import Hub
from gateway.fleet.load_pace import LoadPace, others_run
from gateway.fleet.load_queue import LoadQueue, no_pause
from gateway.fleet.load_record import LoadRecord
from gateway.fleet.view import ColdAdapterFailed
from registry.catalog.snapshot import VersionEntry
from registry.errors import RegistryError
from registry.service import Registry
from telemetry.spans import Begins, whole

log = logging.getLogger("switchyard.fleet")
CLEAR_TIMEOUT_S = 5.0
"""How long a load waits for the requests on adapters that make room for it."""
PLACE_TIMEOUT_S = 1.0
"""How long it waits for any adapter to fall idle while requests run on all of them: another engine may have a place."""
PRELOAD_RETRY_S = 15.0
SWAPS = ""
"""In place of a tenant where turns are taken: what an operator waits for is nobody's share, and does not pause."""


class LoadLimits(NamedTuple):
    """Of each tenant on each engine."""

    queued: int = 64
    """Loads that wait for their turn."""
    share: float = 0.2
    """Of the engine's time, that its loads take while others' requests run there."""


class _Turns(NamedTuple):
    """Whose load is next on an engine, and how soon."""

    queue: LoadQueue
    pace: LoadPace


class Term(Protocol):
    """The controller's term."""

    @property
    def token(self) -> int:
        """Higher than any before."""

    @property
    def over(self) -> bool:
        """Whether somebody else may lead by now; then nothing may be changed any more."""


class LoadingContext(Protocol):
    """What loading needs of the controller around it."""

    def publish(self) -> int:
        """Tell workers what changed; the revision of the view that has it."""

    def wake(self) -> None:
        """Look at the engines now."""

    async def judge(self, engine: ManagedEngine, version: VersionEntry, error: EngineFault) -> ColdAdapterFailed:
        """What the engine's refusal of the version means, and what who waits for it should hear."""

    def proven(self, engine: ManagedEngine) -> None:
        """An engine has proven what it holds."""

    def preload(self) -> None:
        """Begin the next load that nobody has asked for."""


class Loading:
    """Every load of one controller's term."""

    def __init__(
        self,
        registry: Registry,
        hub: Hub,
        term: Term,
        claims: Claims,
        controller: LoadingContext,
        record: LoadRecord,
        *,
        limits: LoadLimits,
        tracing: Begins | None = None,
    ) -> None:
        self.tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        """Loads that run, by engine URL and version id."""
        self._registry = registry
        self._hub = hub
        self._term = term
        self._claims = claims
        self._controller = controller
        self._limits = limits
        self._tracing = tracing
        self._record = record
        self._turns: WeakKeyDictionary[ManagedEngine, _Turns] = WeakKeyDictionary()
        self._not_before: dict[tuple[str, int], float] = {}
        """When a failed preload may be tried again; requests and swaps do not wait for it."""
        self._unproven_s: dict[tuple[str, int], float] = {}
        """Seconds that loads took whose requests have not asked for a proof yet."""
        self._arrivals = Arrivals(hub)

    async def ensure(
        self, engine: ManagedEngine, version: VersionEntry, *, for_swap: bool, proven: bool = True
    ) -> None:
        """Return when the version is resident, or on the engine at all if it need not be `proven`; callers who ask at
        once share one load. Raises `ColdAdapterFailed`.

        A version in quarantine is loaded for nobody: who asks has not seen the newest catalog.
        """
        if version.quarantined is not None:
            raise ColdAdapterFailed(f"{version.name} is quarantined: {version.quarantined}", permanent=True)
        held = engine.residency
        while not (held.holds(version.id, fully_proven=for_swap) if proven else held.has(version.id)):
            if reason := engine.bars.reason(version.id):
                raise ColdAdapterFailed(f"{version.name} is not loaded on this engine now: {reason}", permanent=False)
            load = self.tasks.get((engine.url, version.id))
            if load is None or load.done():  # a finished one stays in the table until the loop's next turn
                if not for_swap and not held.has(version.id):
                    self._require_room_in_queue(engine, version.tenant)
                load = self.start(engine, version, for_swap, proves=proven)
            await asyncio.wait((load,))  # a caller that goes away must not cancel the load that others wait for
            if load.cancelled():  # before its first step, so that it could not say so itself
                raise ColdAdapterFailed(f"the load was given up; the engine is {engine.health.state}", permanent=False)
            load.result()

    def running_on(self, url: str) -> int:
        """Loads that run or wait on an engine."""
        return sum(where == url for where, _ in self.tasks)

    def may_preload(self, engine: ManagedEngine, version: VersionEntry) -> bool:
        """Whether a load that nobody waits for should begin: none runs, none has failed just now, it is not there for
        requests that wait for a slot, and its tenant need not pause, as others' would wait behind it.
        """
        key = (engine.url, version.id)
        if key in self._unproven_s and engine.residency.has(version.id):
            return False
        late_enough = time.monotonic() >= self._not_before.get(key, 0.0)
        idle = key not in self.tasks and late_enough and engine.bars.reason(version.id) is None
        return idle and not self._pause_s(engine, version.tenant)

    def forget_failures(self, url: str) -> None:
        """The engine has booted: what failed before may be tried at once."""
        self._not_before = {key: at for key, at in self._not_before.items() if key[0] != url}
        self._unproven_s = {key: seconds for key, seconds in self._unproven_s.items() if key[0] != url}
        self._arrivals.forget(url)

    def give_up(self, engine: ManagedEngine) -> None:
        """End every load on an engine from which no answer will come, so that who waits can go elsewhere."""
        for (url, _), task in list(self.tasks.items()):
            if url == engine.url:
                task.cancel()

    def start(
        self, engine: ManagedEngine, version: VersionEntry, for_swap: bool, *, proves: bool = True
    ) -> asyncio.Task[None]:
        """Begin a load, with its proof or without; `ensure` tells how it ends."""
        key = (engine.url, version.id)
        task = asyncio.create_task(self._load(engine, version, for_swap, proves), name=f"load {version.name}")
        self.tasks[key] = task
        task.add_done_callback(lambda done: self._load_ended(key, done))
        return task

    async def _load(self, engine: ManagedEngine, version: VersionEntry, for_swap: bool, proves: bool) -> None:
        try:
            try:
                with whole(self._tracing, f"load {version.name}") as span:
                    if span is not None:
                        span.set(tenant=version.tenant, version=version.name, engine=engine.url, for_swap=for_swap)
                    await self._bring_and_prove(engine, version, for_swap, proves)
            except FAILS as error:
                self._controller.publish()
                failure = await self._controller.judge(engine, version, error)
                self._controller.publish()
                self._controller.wake()
                raise failure from error
        except asyncio.CancelledError:
            if engine.health.serves:
                raise
            raise ColdAdapterFailed(f"the engine is {engine.health}", permanent=False) from None

    async def _bring_and_prove(
        self, engine: ManagedEngine, version: VersionEntry, for_swap: bool, proves: bool
    ) -> None:
        """A proof needs no turn: it is a request, which may wait for others' in the engine."""
        began_s, held = time.monotonic(), engine.residency
        try:
            if proves and version.id in held.adoptable:  # a proof may have been added since it was laid out
                await asyncio.to_thread(self._registry.version_files.materialise, version.manifest_digest)
            if proves and version.id in held.adoptable:
                held.begin_proof(version.id)
            else:
                async with self._turn(engine, SWAPS if for_swap else version.tenant):
                    await self._bring(engine, version, for_swap)
                    if proves and version.id in held.adoptable:
                        held.begin_proof(version.id)
            if not proves:
                return
            if version.id in held.proving:
                load_s = self._unproven_s.pop((engine.url, version.id), 0.0)
                proof_s = time.monotonic()
                self._arrivals.begin_proof((engine.url, version.id))
                try:
                    await engine.prove(version.id, full_proof=for_swap)
                except BaseException:
                    self._arrivals.remove((engine.url, version.id))
                    raise
                self._arrivals.add((engine.url, version.id))
                self._record.loaded(engine, version, load_s + time.monotonic() - proof_s)
        except FAILS:
            raise
        except (EngineFault, RegistryError, OSError, SQLAlchemyError) as error:
            self._controller.wake()
            raise ColdAdapterFailed(f"{version.name} could not be loaded: {error}", permanent=False) from error
        self._controller.publish()
        self._controller.proven(engine)
        strength = held.resident[version.id].strength
        proven = "no proof" if strength is None else f"effect {strength:.2f}"
        log.info("loaded %s on %s in %.2f s (%s)", version.name, engine.url, time.monotonic() - began_s, proven)

    async def _bring(self, engine: ManagedEngine, version: VersionEntry, for_swap: bool) -> None:
        """Have it on the engine; what is resident is proven fully."""
        held = engine.residency
        if not engine.health.serves:  # it was, when the load was asked for
            raise ColdAdapterFailed(f"the engine is {engine.health}", permanent=False)
        folder = await asyncio.to_thread(self._registry.version_files.materialise, version.manifest_digest)
        if version.id in held.resident:
            await engine.prove_fully(version.id)
        elif not held.has(version.id):
            await self._make_room(engine, version.tenant, for_swap)
            _require(self._term)
            load_s = time.monotonic()
            await engine.bring(version.id, version.manifest_digest, folder)
            self._unproven_s[engine.url, version.id] = time.monotonic() - load_s
            self._arrivals.add((engine.url, version.id))

    @asynccontextmanager
    async def _turn(self, engine: ManagedEngine, tenant: str) -> AsyncIterator[None]:
        """The engine loads nothing else. What its steps stand still for that counts as its tenant's, while others need
        them.
        """
        turns = self._turns_on(engine)
        pause_s = no_pause if tenant == SWAPS else partial(self._pause_s, engine, tenant)
        async with turns.queue.turn(tenant, pause_s), engine.loading:
            before_s = engine.stood_s
            try:
                yield
            finally:
                if tenant != SWAPS and self._others_run(engine, tenant):
                    turns.pace.took(tenant, engine.stood_s - before_s, time.monotonic())

    def _pause_s(self, engine: ManagedEngine, tenant: str) -> float:
        """Before the tenant's next load may begin there; 0: now."""
        left_s = self._turns_on(engine).pace.pause_s(tenant, time.monotonic())
        return left_s if left_s > 0 and self._others_run(engine, tenant) else 0.0

    def _others_run(self, engine: ManagedEngine, tenant: str) -> bool:
        return others_run(engine, tenant, self._hub, self._claims)

    def _turns_on(self, engine: ManagedEngine) -> _Turns:
        turns = self._turns.get(engine)
        if turns is None:
            turns = self._turns[engine] = _Turns(LoadQueue(), LoadPace(self._limits.share))
        return turns

    def _require_room_in_queue(self, engine: ManagedEngine, tenant: str) -> None:
        waiting = self._turns_on(engine).queue.waiting(tenant)
        if waiting >= self._limits.queued:
            self._record.refused(engine)
            raise ColdAdapterFailed(
                f"{waiting} of this tenant's adapters wait to be loaded, the most that may",
                permanent=False,
                tenants_own=True,
            )

    def _load_ended(self, key: tuple[str, int], task: asyncio.Task[None]) -> None:
        if self.tasks.get(key) is task:
            del self.tasks[key]
        if not task.cancelled() and task.exception() is not None:
            self._not_before[key] = time.monotonic() + PRELOAD_RETRY_S
            self._record.failed(key[0])
            log.warning("%s", task.exception())  # also marks it as seen when every waiting client went away
        elif not task.cancelled():
            self._controller.preload()

    async def _make_room(self, engine: ManagedEngine, tenant: str, for_swap: bool) -> None:
        """Have an adapter unloaded for one of the tenant, and wait until it is. Raises `ColdAdapterFailed`."""
        began = time.monotonic()
        held = engine.residency
        if held.places_left(for_swap=for_swap) < 1:
            await self._hub.collect_reports(timeout_s=0.5)  # else what began since the last reports would look idle
        while held.places_left(for_swap=for_swap) < 1:
            soon = any(self._hub.asked(engine.url, name) == 0 for name in held.leaving)
            if not soon and not self._give_up_one(engine, tenant) and not held.leaving:
                if time.monotonic() - began > PLACE_TIMEOUT_S:
                    raise ColdAdapterFailed("every adapter place of the engine is in use", permanent=False)
            elif await self.unload_cleared(engine):
                continue
            elif time.monotonic() - began > CLEAR_TIMEOUT_S:
                raise ColdAdapterFailed("the adapters that make room are still in use", permanent=False)
            await self._hub.next_report(timeout_s=0.5)

    def _give_up_one(self, engine: ManagedEngine, tenant: str) -> bool:
        """Take out of the routes what nobody uses and should make room; False when all are used. First what an earlier
        controller has left.
        """
        held, now = engine.residency, time.monotonic()
        idle_s = {
            version_id: now - self._hub.last_used_s.get((engine.url, version_id), 0.0)
            for version_id in (*held.resident, *held.adoptable)
            if not self._arrivals.is_new((engine.url, version_id), now)
            and (version_id in held.adoptable or self._hub.asked(engine.url, held.resident[version_id].name) == 0)
        }
        left = next((one for one in held.adoptable if (engine.url, one) not in self._unproven_s), None)
        first = first_to_go(idle_s, (*held.resident, *held.adoptable), tenant, self._claims) if left is None else left
        if first is None:
            return False
        self.retire(engine, first)
        self._record.evicted(engine)
        return True

    def retire(self, engine: ManagedEngine, version_id: int) -> None:
        """Out of the routes now; off the engine when no worker uses it."""
        name = engine.residency.take_out(version_id)
        self._hub.last_used_s.pop((engine.url, version_id), None)
        self._unproven_s.pop((engine.url, version_id), None)
        self._arrivals.remove((engine.url, version_id))
        engine.residency.leaving[name] = self._controller.publish()

    async def unload_cleared(self, engine: ManagedEngine) -> bool:
        """Unload what has left the routes and is used by nobody; whether anything was."""
        leaving = engine.residency.leaving.items()
        cleared = [name for name, revision in leaving if self._hub.is_clear(engine.url, name, revision)]
        unloaded = False
        for name in cleared:
            _require(self._term)
            try:
                await engine.unload(name)
                unloaded = True
            except EngineFault as error:
                log.warning("unloading %s from %s: %s", name, engine.url, error)
        return unloaded


def _require(term: Term) -> None:
    if term.over:
        raise ColdAdapterFailed("this controller's term is over; its successor will do it", permanent=False)
