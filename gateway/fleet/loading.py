"""Loading and unloading on every engine: one load for all who ask, one at a time an engine, by turns of tenants, and
room made for it. What was loaded is proven beside the next load.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from enum import Enum
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from gateway.engines.faults import FAILS, EngineFault
from gateway.engines.managed import ManagedEngine
from gateway.fleet.arrivals import Arrivals
from gateway.fleet.eviction import Claims, first_to_go
from gateway.fleet.hub import Hub, There, is_there
from gateway.fleet.load_record import LoadRecord
from gateway.fleet.load_turns import SWAPS, LoadLimits, LoadTurns
from gateway.fleet.proof_slots import ProofSlots
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


class Proof(Enum):
    """When what is loaded is proven, which needs a slot of the engine."""

    LATER = "later"
    """When who asks for the load has one, and asks again."""
    AT_ONCE = "at once"
    """Who asks has one."""
    IN_TURN = "in turn"
    """It waits for one in its tenant's turn: an operator waits for it."""
    IF_FREE = "if free"
    """Only if nobody waits for one; else another time."""


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

    async def judge(
        self, engine: ManagedEngine, version: VersionEntry, error: EngineFault, slot: AbstractAsyncContextManager[bool]
    ) -> ColdAdapterFailed:
        """What the engine's refusal of the version means, and what who waits for it should hear; `slot` is the
        version's on the engine, if it is had.
        """

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
        self._tracing = tracing
        self._record = record
        self._not_before: dict[tuple[str, int], float] = {}
        """When a failed preload may be tried again; requests and swaps do not wait for it."""
        self._unproven_s: dict[tuple[str, int], float] = {}
        """Seconds that loads took whose requests have not asked for a proof yet."""
        self._arrivals = Arrivals(hub)
        self.proof_slots = ProofSlots(hub)
        self.turns = LoadTurns(hub, claims, limits)

    async def ensure(
        self, engine: ManagedEngine, version: VersionEntry, *, for_swap: bool, proof: Proof = Proof.IN_TURN
    ) -> None:
        """Return when the version is resident, or on the engine at all if its proof comes later; callers who ask at
        once share one load. Raises `ColdAdapterFailed`.

        A version in quarantine is loaded for nobody: who asks has not seen the newest catalog.
        """
        if version.quarantined is not None:
            raise ColdAdapterFailed(f"{version.name} is quarantined: {version.quarantined}", permanent=True)
        held, later = engine.residency, proof is Proof.LATER
        while not (held.has(version.id) if later else held.holds(version.id, fully_proven=for_swap)):
            if reason := engine.bars.reason(version.id):
                raise ColdAdapterFailed(f"{version.name} is not loaded on this engine now: {reason}", permanent=False)
            load = self.tasks.get((engine.url, version.id))
            if load is None or load.done():  # a finished one stays in the table until the loop's next turn
                if not for_swap and not held.has(version.id):
                    self._require_room_in_queue(engine, version.tenant)
                load = self.start(engine, version, for_swap=for_swap, proof=proof)
            elif proof is Proof.AT_ONCE:
                self.proof_slots.is_had(engine.url, version.id)
            await asyncio.wait((load,))  # a caller that goes away must not cancel the load that others wait for
            if load.cancelled():  # before its first step, so that it could not say so itself
                raise ColdAdapterFailed(f"the load was given up; the engine is {engine.health.state}", permanent=False)
            load.result()

    def running_on(self, url: str) -> int:
        """Loads that run or wait on an engine."""
        return sum(where == url for where, _ in self.tasks)

    def may_preload(self, engine: ManagedEngine, version: VersionEntry) -> bool:
        """Whether a load that nobody waits for should begin: none runs, none has failed or found no slot for its proof
        just now, and its tenant need not pause, as others' would wait behind it.
        """
        key = (engine.url, version.id)
        late_enough = time.monotonic() >= self._not_before.get(key, 0.0)
        idle = key not in self.tasks and late_enough and engine.bars.reason(version.id) is None
        return idle and not self.turns.pause_s(engine, version.tenant)

    def forget_failures(self, url: str) -> None:
        """The engine has booted: what failed before may be tried at once."""
        self._not_before = {key: at for key, at in self._not_before.items() if key[0] != url}
        self._unproven_s = {key: seconds for key, seconds in self._unproven_s.items() if key[0] != url}
        self._arrivals.forget(url)

    def keep_what_is(self, there: There) -> None:
        """Forget what is on no engine any more, however it went, and failures that hold nothing up."""
        now = time.monotonic()
        self._not_before = {key: at for key, at in self._not_before.items() if at > now}
        self._unproven_s = {key: seconds for key, seconds in self._unproven_s.items() if is_there(there, key)}
        self._arrivals.keep_what_is(there)

    def give_up(self, engine: ManagedEngine) -> None:
        """End every load on an engine from which no answer will come, so that who waits can go elsewhere."""
        for (url, _), task in list(self.tasks.items()):
            if url == engine.url:
                task.cancel()

    def start(
        self, engine: ManagedEngine, version: VersionEntry, *, for_swap: bool, proof: Proof
    ) -> asyncio.Task[None]:
        """Begin a load, with its proof or without; `ensure` tells how it ends."""
        key = (engine.url, version.id)
        task = asyncio.create_task(self._load(engine, version, for_swap, proof), name=f"load {version.name}")
        self.tasks[key] = task
        task.add_done_callback(lambda done: self._load_ended(key, done))
        return task

    async def _load(self, engine: ManagedEngine, version: VersionEntry, for_swap: bool, proof: Proof) -> None:
        try:
            try:
                with whole(self._tracing, f"load {version.name}") as span:
                    if span is not None:
                        span.set(tenant=version.tenant, version=version.name, engine=engine.url, for_swap=for_swap)
                    await self._bring_and_prove(engine, version, for_swap, proof)
            except FAILS as error:
                self._controller.publish()
                failure = await self._controller.judge(engine, version, error, self._slot(engine, version, proof))
                self._controller.publish()
                self._controller.wake()
                raise failure from error
        except asyncio.CancelledError:
            if engine.health.serves:
                raise
            raise ColdAdapterFailed(f"the engine is {engine.health}", permanent=False) from None

    async def _bring_and_prove(
        self, engine: ManagedEngine, version: VersionEntry, for_swap: bool, proof: Proof
    ) -> None:
        """A proof needs no turn: it is a request, which may wait for others' in the engine."""
        began_s, held, proves = time.monotonic(), engine.residency, proof is not Proof.LATER
        try:
            if proves and held.has(version.id):  # a proof may have been added since it was laid out
                await asyncio.to_thread(self._registry.version_files.materialise, version.manifest_digest)
            if not proves or not held.has(version.id):
                async with self.turns.turn(engine, SWAPS if for_swap else version.tenant):
                    await self._bring(engine, version, for_swap)
            if not proves or not await self._prove(engine, version, for_swap, proof):
                return
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

    async def _prove(self, engine: ManagedEngine, version: VersionEntry, for_swap: bool, proof: Proof) -> bool:
        """With a slot, fully what is resident; whether it was: not without a slot, for who does not wait for one."""
        async with self._slot(engine, version, proof) as had:
            if had:
                await self._prove_now(engine, version, for_swap)
            else:
                self._not_before[engine.url, version.id] = time.monotonic() + PRELOAD_RETRY_S
        return had

    def _slot(self, engine: ManagedEngine, version: VersionEntry, proof: Proof) -> AbstractAsyncContextManager[bool]:
        """One for the version; whether it was had."""
        if proof is Proof.AT_ONCE:
            return nullcontext(True)
        return self.proof_slots.one(engine.url, version, waits=proof is not Proof.IF_FREE)

    async def _prove_now(self, engine: ManagedEngine, version: VersionEntry, for_swap: bool) -> None:
        key, held = (engine.url, version.id), engine.residency
        if version.id in held.resident:
            if for_swap:
                await engine.prove_fully(version.id)
            return
        if version.id not in held.adoptable:  # it made room for another, or the engine was refused, meanwhile
            raise ColdAdapterFailed(f"{version.name} left the engine before it was proven", permanent=False)
        held.begin_proof(version.id)
        load_s, proof_s = self._unproven_s.pop(key, 0.0), time.monotonic()
        self._arrivals.begin_proof(key)
        try:
            await engine.prove(version.id, full_proof=for_swap)
        except BaseException:
            self._arrivals.remove(key)
            raise
        self._arrivals.add(key)
        self._record.loaded(engine, version, load_s + time.monotonic() - proof_s)

    async def _bring(self, engine: ManagedEngine, version: VersionEntry, for_swap: bool) -> None:
        """Have it on the engine."""
        held = engine.residency
        if not engine.health.serves:  # it was, when the load was asked for
            raise ColdAdapterFailed(f"the engine is {engine.health}", permanent=False)
        folder = await asyncio.to_thread(self._registry.version_files.materialise, version.manifest_digest)
        if not held.has(version.id):
            await self._make_room(engine, version.tenant, for_swap)
            _require(self._term)
            load_s = time.monotonic()
            await engine.bring(version.id, version.manifest_digest, folder)
            self._unproven_s[engine.url, version.id] = time.monotonic() - load_s
            self._arrivals.add((engine.url, version.id))

    def _require_room_in_queue(self, engine: ManagedEngine, tenant: str) -> None:
        if waiting := self.turns.too_many(engine, tenant):
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
        """Take out of the routes what nobody uses and should make room; False when all are used or kept."""
        held, now = engine.residency, time.monotonic()
        idle_s = {
            version_id: now - self._hub.last_used_s.get((engine.url, version_id), 0.0)
            for version_id in (*held.resident, *held.adoptable)
            if not self._arrivals.is_new((engine.url, version_id), now)
            and (version_id in held.adoptable or self._hub.asked(engine.url, held.resident[version_id].name) == 0)
        }
        left = {one for one in held.adoptable if (engine.url, one) not in self._unproven_s}
        first = first_to_go(idle_s, (*held.resident, *held.adoptable), tenant, self._claims, left)
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
