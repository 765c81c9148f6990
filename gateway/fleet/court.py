"""What it means that an engine refuses an adapter: is the adapter bad, or the engine?

One engine's word takes nothing away. It is heard when the engine proves another adapter that is known to be good (its
*witness*), and a version goes into quarantine when all who could prove it refuse it:

| the engine | the version | what follows |
|---|---|---|
| fails its witnesses | whatever | the engine is refused, and examined again with growing pauses |
| proves one | proven before, by any engine | barred on this engine for a while; it serves elsewhere |
| proves one | never proven | a second engine is asked; both refuse it, or there is none: quarantine |
| has no witness | proven before | the engine is refused: it is alone |
| has no witness | never proven | other versions with a proof stand in for witnesses: all fail → the engine is refused |

An engine that generates nothing measures no effect: it is no witness, and its refusal bars a version on it and says no
more.

A quarantine made here ends when an engine proves the version; one that a person made does not.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from gateway.engines.faults import FAILS, AdapterRejected, CannotCompare, EngineFault, ProofBroken
from gateway.engines.health import EngineRefused
from gateway.engines.kinds import base_of_adapters
from gateway.engines.managed import ManagedEngine
from gateway.engines.names import digest_in, short_digest
from gateway.fleet.view import ColdAdapterFailed
from registry.catalog.snapshot import Catalog, VersionEntry
from registry.errors import RegistryError
from registry.service import Registry

log = logging.getLogger("switchyard.fleet")
UNDECIDED = (ColdAdapterFailed, EngineFault, RegistryError, SQLAlchemyError, OSError)
WITNESSES = 2
"""Known-good adapters that an engine must all fail to be refused: one may be at odds with this engine alone."""
STAND_INS = 4
MOST_LOOKED_AT = 200
FIRST_RETRIAL_S, LAST_RETRIAL_S = 30.0, 3600.0
LOOK_FOR_RETRIALS_S = 5.0


@dataclass(frozen=True, slots=True)
class Retrial:
    """When a version in quarantine is tried again, and how long to wait after that, in seconds."""

    at_s: float
    pause_s: float


class Court:
    """One controller's knowledge of who proved what, and its judgement. `ensure` loads a version on an engine."""

    def __init__(
        self,
        engines: Sequence[ManagedEngine],
        registry: Registry,
        catalog: Callable[[], Catalog],
        ensure: Callable[[ManagedEngine, VersionEntry], Awaitable[None]],
        announce: Callable[[int], None],
        vouched: Callable[[], Collection[str]],
        in_term: Callable[[], bool],
        slot: Callable[[str, VersionEntry], AbstractAsyncContextManager[bool]],
    ) -> None:
        """`vouched` gives names on engines that workers were told to route to by an earlier controller; out of its term
        nothing is loaded any more. `slot`: one of an engine for a version that nobody waits for, if one is free.
        """
        self._engines = engines
        self._registry = registry
        self._catalog = catalog
        self._ensure = ensure
        self._announce = announce
        self._vouched = vouched
        self._in_term = in_term
        self._slot = slot
        self._proved: dict[int, set[str]] = {}
        """Version id → URLs of the engines that proved it in this term, or held it proven when the term began."""
        self._refused_by: dict[int, set[str]] = {}
        """Version id → URLs of engines that refused it, and that were not found broken since."""
        self._sessions: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._retrials: dict[int, Retrial] = {}
        self._looked_s = 0.0

    def note(self, engine: ManagedEngine) -> None:
        """What an engine holds in its routes is proven, if it is one that proves."""
        if not engine.profile.generates:
            return
        for version_id in engine.residency.resident:
            self._proved.setdefault(version_id, set()).add(engine.url)

    async def examine(self, engine: ManagedEngine) -> None:
        """Have an engine prove adapters that are known to be good. Raises `EngineRefused` when it can do none.

        The caller holds the engine's `loading`. Without a known-good adapter there is nothing to ask, but of an engine
        that was refused, which is asked for those that it was refused over.
        """
        if not engine.profile.generates or base_of_adapters(engine.declared) is None:
            return
        versions = await self._witnesses(engine, with_proof=True)
        if not versions and engine.health.state == "refused":
            versions = await self._stand_ins(engine.declared.base_digest)
        await self._proves_one(engine, versions, WITNESSES)

    async def judge(
        self, engine: ManagedEngine, version: VersionEntry, error: EngineFault, slot: AbstractAsyncContextManager[bool]
    ) -> ColdAdapterFailed:
        """What is to be said to who waits for the version; `error` is one of `FAILS`.

        What the engine is asked for runs in the version's own `slot`, which that does not need now: without one it
        would take another's place, or wait in the engine, and all loads there behind it.
        """
        if not engine.profile.generates:
            return self._bar(engine, version, error)
        if isinstance(error, ProofBroken):
            self._proved.get(version.id, set()).discard(engine.url)
        try:
            async with slot as had, self._sessions[engine.url]:
                if not had:
                    return _not_now(version, f"{error}; no slot is free to find out whether the engine is at fault")
                credible = await self._credible(engine, version)
        except EngineRefused as refused:
            return self._refuse_engine(engine, f"it refuses {version.name} ({error}), and {refused}")
        except UNDECIDED as undecided:
            return _not_now(version, f"{error}; whether the engine is at fault is not known yet: {undecided}")
        provers = self._proved.get(version.id)
        if provers and not credible:
            where = f"{', '.join(sorted(provers - {engine.url})) or 'it'} proved before"
            return self._refuse_engine(engine, f"it is alone in refusing {version.name}, which {where}: {error}")
        if provers or isinstance(error, CannotCompare):
            return self._bar(engine, version, error)
        if not isinstance(error, AdapterRejected):  # it says nothing about the adapter
            return _not_now(version, str(error))
        words = self._refused_by.setdefault(version.id, set())
        words.add(engine.url)
        if words != {engine.url}:  # in one turn with the line above: of two that refuse at once the later sees both
            return await self._quarantine(version, error)
        return await self._ask_others(engine, version, error, credible=credible)

    async def _ask_others(
        self, engine: ManagedEngine, version: VersionEntry, error: EngineFault, *, credible: bool
    ) -> ColdAdapterFailed:
        """A second engine's word on a version that one refuses; `credible` when the one proves others."""
        others = [other for other in self._able(version) if other is not engine]
        for other in others:
            try:
                await self._ensure(other, version)
            except ColdAdapterFailed as failed:
                if failed.permanent:
                    return failed
            else:
                if credible:
                    return self._bar(engine, version, error)
                return self._refuse_engine(engine, f"it refuses {version.name}, which {other.url} proved: {error}")
        if others:
            return _not_now(version, f"{error}; no second engine could be asked")
        return await self._quarantine(version, error)

    def refuse(self, engine: ManagedEngine, reason: str) -> None:
        """The engine must not serve, and what it said against versions counts no more."""
        engine.refuse(reason)
        for engines in self._refused_by.values():
            engines.discard(engine.url)

    async def retry_quarantined(self) -> None:
        """Have versions that were put into quarantine here, and not by a person, tried again when it is time."""
        now = time.monotonic()
        if now < self._looked_s + LOOK_FOR_RETRIALS_S:
            return
        self._looked_s = now
        try:
            ids = await asyncio.to_thread(self._registry.adapters.quarantined_by_machine)
        except SQLAlchemyError:
            return
        first = Retrial(now + FIRST_RETRIAL_S, 2 * FIRST_RETRIAL_S)
        self._retrials = {version_id: self._retrials.get(version_id, first) for version_id in ids}
        due = [version_id for version_id, retrial in self._retrials.items() if retrial.at_s <= now]
        for version_id in sorted(due, key=lambda one: self._retrials[one].at_s)[:1]:
            pause_s = self._retrials[version_id].pause_s
            self._retrials[version_id] = Retrial(now + pause_s, min(LAST_RETRIAL_S, 2 * pause_s))
            version = self._catalog().versions_by_id.get(version_id)
            if version is not None:
                await self._retry(version)

    def retry_soon(self) -> None:
        """An engine has booted, or was healed: what was refused before may be proven now."""
        self._retrials = {key: Retrial(0.0, one.pause_s) for key, one in self._retrials.items()}
        self._looked_s = 0.0

    # Steps

    async def _credible(self, engine: ManagedEngine, version: VersionEntry) -> bool:
        """Whether the engine proves another adapter now. Raises `EngineRefused` when it fails all that it is given.

        False: there is no other adapter to ask it for.
        """
        async with engine.loading:
            if not engine.health.serves:
                raise EngineFault(f"it is {engine.health}")
            witnesses = [one for one in await self._witnesses(engine) if one.id != version.id]
            if await self._proves_one(engine, witnesses, WITNESSES):
                return True
            if self._proved.get(version.id):
                return False
            stand_ins = await self._stand_ins(version.base_digest, version)
            return await self._proves_one(engine, stand_ins, STAND_INS)

    async def _proves_one(self, engine: ManagedEngine, versions: Iterable[VersionEntry], most: int) -> bool:
        """Whether one of the first `most` was proven; False when there is none. Raises `EngineRefused` if all fail."""
        failures: list[str] = []
        for version in versions:
            if len(failures) == most:
                break
            try:
                folder = await asyncio.to_thread(self._registry.version_files.materialise, version.manifest_digest)
            except (RegistryError, OSError) as error:
                log.warning("%s cannot be used as a witness: %s", version.name, error)
                continue
            if not self._in_term():
                raise EngineFault("this controller's term is over; its successor will examine it")
            try:
                strength = await engine.try_out(version.manifest_digest, folder)
            except FAILS as error:
                failures.append(f"{version.name}: {error}")
            else:
                log.info("engine %s proves %s (%s)", engine.url, version.name, strength)
                return True
        if failures:
            raise EngineRefused("it cannot prove adapters that should be good: " + "; ".join(failures))
        return False

    async def _witnesses(self, engine: ManagedEngine, *, with_proof: bool = False) -> list[VersionEntry]:
        """Versions known to be good: those with a proof of their effect, or else (unless that is asked) the others.

        What other engines hold now comes first, and then one of each tenant: a tenant must not be all the witnesses.
        """
        vouched = {digest_in(name) for name in self._vouched()}
        known = [
            version
            for version in self._catalog().versions_by_id.values()
            if version.base_digest == engine.declared.base_digest
            and version.quarantined is None
            and (self._proved.get(version.id) or short_digest(version.manifest_digest) in vouched)
        ]
        random.shuffle(known)  # so that an engine which was refused meets others the next time
        proven = await self._with_proof(known)
        held = {one for other in self._engines if other is not engine for one in other.residency.resident}
        return _by_turns(sorted(proven if proven or with_proof else known, key=lambda version: version.id not in held))

    async def _stand_ins(self, base_digest: str, refused: VersionEntry | None = None) -> list[VersionEntry]:
        """Versions of a base with a proof, nothing else being known of them; those of the refused one's tenant last."""
        wanted = {one.id: one for one in self._catalog().wanted_versions() if one.base_digest == base_digest}
        if refused is not None:
            wanted.pop(refused.id, None)
        found = random.sample(list(wanted.values()), min(len(wanted), MOST_LOOKED_AT))
        tenant = refused.tenant if refused is not None else None
        return _by_turns(sorted(await self._with_proof(found), key=lambda one: one.tenant == tenant))

    async def _with_proof(self, versions: Sequence[VersionEntry]) -> list[VersionEntry]:
        looked_at = versions[:MOST_LOOKED_AT]
        digests = {version.manifest_digest for version in looked_at}
        proven = await asyncio.to_thread(self._registry.adapters.with_proof, digests) if digests else set()
        return [version for version in looked_at if version.manifest_digest in proven]

    def _able(self, version: VersionEntry) -> list[ManagedEngine]:
        return [
            engine
            for engine in self._engines
            if engine.health.serves
            and engine.profile.generates
            and not engine.health.drained
            and base_of_adapters(engine.declared) == version.base_digest
            and not engine.bars.reason(version.id)
        ]

    # Outcomes

    def _refuse_engine(self, engine: ManagedEngine, reason: str) -> ColdAdapterFailed:
        self.refuse(engine, reason)
        return ColdAdapterFailed(f"the engine is refused: {reason}", permanent=False)

    def _bar(self, engine: ManagedEngine, version: VersionEntry, error: EngineFault) -> ColdAdapterFailed:
        engine.bars.add(version.id, str(error))
        log.warning("engine %s gets no %s for a while: %s", engine.url, version.name, error)
        return _not_now(version, str(error))

    async def _quarantine(self, version: VersionEntry, error: EngineFault) -> ColdAdapterFailed:
        self._refused_by.pop(version.id, None)
        try:
            await asyncio.to_thread(self._registry.adapters.quarantine, version.id, str(error), by_machine=True)
            self._announce(await asyncio.to_thread(self._registry.db.catalog_revision))
        except SQLAlchemyError as away:
            return _not_now(version, f"{error}; its quarantine cannot be written down: {away}")
        log.error("quarantined %s: %s", version.name, error)
        return ColdAdapterFailed(f"{version.name} is quarantined: {error}", permanent=True)

    async def _retry(self, version: VersionEntry) -> None:
        for engine in self._able(version):
            try:
                folder = await asyncio.to_thread(self._registry.version_files.materialise, version.manifest_digest)
                async with self._slot(engine.url, version) as had, engine.loading:
                    if not self._in_term():
                        return
                    if not had:
                        continue  # requests run on as many adapters as it runs, and nobody waits for this one
                    await engine.try_out(version.manifest_digest, folder)
                await asyncio.to_thread(self._registry.adapters.release, version.id, by_machine=True)
                self._announce(await asyncio.to_thread(self._registry.db.catalog_revision))
            except UNDECIDED as error:
                log.info("%s stays in quarantine: %s", version.name, error)
            else:
                self._proved.setdefault(version.id, set()).add(engine.url)
                log.warning("%s is out of quarantine: engine %s proved it", version.name, engine.url)
                return


def _by_turns(versions: Sequence[VersionEntry]) -> list[VersionEntry]:
    """The first of each tenant in their order, then the second of each, and so on."""
    turns: dict[str, int] = {}
    turn_of: dict[int, int] = {}
    for version in versions:
        turn_of[version.id] = turns[version.tenant] = turns.get(version.tenant, 0) + 1
    return sorted(versions, key=lambda version: turn_of[version.id])


def _not_now(version: VersionEntry, reason: str) -> ColdAdapterFailed:
    return ColdAdapterFailed(f"{version.name} could not be loaded: {reason}", permanent=False)
