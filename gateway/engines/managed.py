"""One engine as the controller manages it: looked at, met on a new boot, given adapters and relieved of them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from gateway.engines.barred import Bars
from gateway.engines.conduct import Conduct
from gateway.engines.declared import Handling
from gateway.engines.engine import Engine
from gateway.engines.faults import FAILS, AdapterRejected, EngineFault, ProofBroken, Silent
from gateway.engines.health import EngineRefused, Health
from gateway.engines.kind import Card
from gateway.engines.kinds import kind_of
from gateway.engines.look import Look
from gateway.engines.profile import Profile
from gateway.engines.proving import prove, require_listed
from gateway.engines.residency import NOT_TOLD, Finder, Residency, Resident

log = logging.getLogger("switchyard.fleet")
ZERO_DIGEST = "0" * 16
PROBE_STUCK_S = 1.5
LOAD_PAUSES_S = (0.25, 1.0)
"""Before a load that was refused is tried again, under another name: a 500 may be one of the moment."""


class ManagedEngine:
    """Mutable state of one engine; only the controller touches it."""

    def __init__(self, declared: Engine, handling: Handling, term: int = 0) -> None:
        self.declared = declared
        self.handling = handling
        self.url = declared.url
        self.control = kind_of(declared).control(declared.url, handling.api_key)
        self.health = Health(declared.url, handling.hung_after_s)
        self.residency = Residency(declared.places, term)
        self.profile = Profile(declared, handling, self.control)
        self.bars = Bars()
        self.conduct = Conduct(handling.most_breaches, handling.breach_window_s)
        self.leaving = False
        """Whether it is to be let go when no request runs on it any more."""
        self.slots: int | None = None
        """Different adapters that it runs at a time, as it has told last; on a new boot it tells when one has run."""
        self.loading = asyncio.Lock()
        self.stood_s = 0.0
        """Seconds that it was asked to load in: it reads an adapter between two steps of everybody's requests."""
        self._loads_since_base = 0

    def refuse(self, reason: str) -> None:
        """It must not serve until it has shown that it works, and nothing that it holds is believed any more."""
        self.health.down(reason, "refused")
        self.residency.take_all_out()

    # Checking

    async def check(
        self,
        find: Finder,
        *,
        in_flight: int,
        heard_s: float,
        examine: Callable[[], Awaitable[None]] | None = None,
        on_starting: Callable[[], object] = lambda: None,
    ) -> bool:
        """Look at the engine; on a boot that is new to us find out what it holds. True on such a boot.

        So too when one that was refused is taken back. `examine` raises `EngineRefused` for an engine that cannot do
        its work; it is asked before the engine takes traffic on a boot on which nothing was proven, or after it was
        refused. `on_starting` is called when an engine that we knew is back, and this is going to take some seconds.
        `in_flight` are our workers' requests and our loads on it, `heard_s` is when (`time.monotonic()`) one of the
        workers last got a byte.
        The state afterwards says what was found.
        """
        began_s = time.monotonic()
        try:
            look = await self._look(heard_s)
            if look is None:
                return False
            refused = self.health.condition == "refused"
            if refused and look.boot == self.residency.boot and not self.health.may_be_examined:
                return False
            if look.boot != self.residency.boot and self.health.condition not in ("new", "refused"):
                self.health.starting()
                on_starting()
            if look.boot != self.residency.boot or self.residency.base_name is None or refused:
                return await self._meet(look, find, examine)
            await self._watch(look, in_flight, heard_s)
            return False
        finally:
            self.health.looked_at(began_s)

    async def _look(self, heard_s: float) -> Look | None:
        try:
            look = await self.control.look()
        except Silent as error:
            self.health.silent(str(error), heard_s)
            return None
        except EngineFault as error:
            self.health.look = None
            self.health.note_answer()
            self.health.down(str(error))
            return None
        self.health.note_answer()
        self.slots = look.max_loras or self.slots
        return look

    async def _watch(self, look: Look, in_flight: int, heard_s: float) -> None:
        """Whether an engine that we know goes on."""
        hung_after_s = self.health.hung_after_s
        stuck_s = self.health.stuck_s(look, in_flight, heard_s)
        if self.health.condition == "hung" or stuck_s >= hung_after_s / 2:  # so that the probe's time counts
            asked_s = time.monotonic()
            if await self._answers():
                self._up()
            elif (stuck_s := stuck_s + time.monotonic() - asked_s) >= hung_after_s:
                requests = look.running + look.waiting
                self.health.down(f"{requests} requests on it, and no step for {stuck_s:.0f} s", "hung")
        elif self.health.condition != "up":
            self._up()

    async def _answers(self) -> bool:
        """Whether the base answers one token soon. False also when the engine has lost it meanwhile."""
        if self.residency.base_name is None:
            return False
        try:
            return await self.control.answers_as(
                self.residency.base_name, secrets.token_hex(8), timeout_s=PROBE_STUCK_S
            )
        except EngineFault:
            return False

    def _up(self) -> None:
        if not self.health.serves:
            log.info("engine %s is up: vLLM %s", self.url, self.profile.version)
        self.health.up()

    # Meeting it on a boot

    async def _meet(self, look: Look, find: Finder, examine: Callable[[], Awaitable[None]] | None) -> bool:
        refused = self.health.condition == "refused"
        new_boot = refused or look.boot != self.residency.boot
        async with self.loading:  # else a load that begins now would be taken for a stranger
            began_s = time.monotonic()
            try:
                await self._take_over(look, find)
                if examine is not None and (refused or not self.residency.resident):  # a load may have ended since
                    await examine()
            except EngineRefused as error:
                self.refuse(str(error))
                return False
            except EngineFault as error:
                self.residency.base_name = None  # so that it is met again, and not taken for one that we know
                self.health.down(str(error))
                return False
        self.health.look = look
        self._up()
        log.info("took engine %s over in %.2f s", self.url, time.monotonic() - began_s)
        return new_boot

    async def _take_over(self, look: Look, find: Finder) -> None:
        if look.boot != self.residency.boot:
            self.residency.begin_boot(look.boot)
            self.bars.clear()
        self.residency.base_name = None
        await self.profile.learn_version()
        cards = await self.control.models()
        self.residency.sort_out(cards, find, self.handling.zero_adapter)
        base_name = await self._make_base_servable(cards)
        await self.profile.learn_base(base_name, cards)
        self.residency.base_is_servable(base_name, takes_a_place=self.profile.base_needs_zero_adapter)

    async def _make_base_servable(self, cards: Mapping[str, Card]) -> str:
        if not self.profile.base_needs_zero_adapter:
            return next(card.id for card in cards.values() if card.parent is None)
        zero_adapter = self.handling.zero_adapter
        kept = self.residency.keep_back(zero_adapter, cards)
        if kept is not None:
            return kept
        try:
            name = await self._load_patiently(ZERO_DIGEST, zero_adapter)
            await require_listed(self.control, name, zero_adapter)
        except FAILS as error:
            raise EngineRefused(f"it does not load adapters, not even one of zeros: {error}") from error
        return name

    # Loading

    async def bring(self, version_id: int, digest: str, folder: Path) -> None:
        """Load a version, which is `adoptable` then. Raises `EngineFault`."""
        boot = self.residency.boot
        async with self.health.while_it_works():
            name = await self._load_patiently(digest, folder)
        if self.residency.boot != boot:
            raise EngineFault("the engine restarted during the load")
        self.residency.adoptable[version_id] = name, folder

    async def prove(self, version_id: int, *, full_proof: bool) -> Resident:
        """Prove a version that is in `proving`, beside loads of others; it is in `resident` only if that worked. Raises
        `EngineFault`.
        """
        name, folder = self.residency.proving[version_id]
        try:
            async with self.health.while_it_works():
                measured = await prove(self.control, self.residency, name, folder, full_proof=full_proof)
        except BaseException:
            if self.residency.end_proof(version_id, name):
                await _forget_quietly(self, name)
            raise
        if not self.residency.end_proof(version_id, name):
            raise EngineFault("the engine restarted, or was refused, while it proved the adapter")
        entry = self.residency.resident[version_id] = Resident(name, folder, measured, full_proof)
        await self._keep_base_warm()
        return entry

    async def try_out(self, digest: str, folder: Path) -> float | None:
        """Load an adapter under a name of its own, prove it, and take it off again. Raises `EngineFault`.

        Its value is the strength of the effect, `None` for an adapter without a proof. For who holds `loading`.
        """
        async with self.health.while_it_works():
            name = await self._load_patiently(digest, folder)
            try:
                return await prove(self.control, self.residency, name, folder, full_proof=False)
            finally:
                self.residency.leaving[name] = NOT_TOLD  # in case it cannot be unloaded now
                with suppress(EngineFault):
                    await self.unload(name)

    async def prove_fully(self, version_id: int) -> Resident:
        """Replay every probe of a resident version; it leaves `resident` when they fail. Raises `EngineFault`."""
        entry = self.residency.resident[version_id]
        try:
            async with self.health.while_it_works():
                measured = await prove(self.control, self.residency, entry.name, entry.folder, full_proof=True)
        except AdapterRejected as error:
            del self.residency.resident[version_id]
            await _forget_quietly(self, entry.name)  # requests that run on it are finished by vLLM all the same
            raise ProofBroken(str(error)) from error
        self.residency.resident[version_id] = Resident(entry.name, entry.folder, measured, fully_proven=True)
        return self.residency.resident[version_id]

    async def _load_patiently(self, digest: str, folder: Path) -> str:
        """Load a folder, and try again when that is refused; its name. Raises `EngineFault`."""
        for pause_s in (*LOAD_PAUSES_S, None):
            name = self.residency.next_name(digest)
            began_s = time.monotonic()
            try:
                await self.control.load_adapter(name, folder, self.handling.load_timeout_s)
                break
            except AdapterRejected as error:
                if pause_s is None:
                    raise
                log.warning("engine %s refused a load, which is tried again: %s", self.url, error)
            finally:
                self.stood_s += time.monotonic() - began_s
            await asyncio.sleep(pause_s)
        return name

    async def _keep_base_warm(self) -> None:
        """A load may put out what the engine used longest ago, and that must not be the zero adapter: the next base
        request would have it read from disk in the middle of everybody's step. So use it, long before its turn comes.
        """
        self._loads_since_base += 1
        due = 2 * self._loads_since_base >= self.declared.places
        if self.profile.base_needs_zero_adapter and due:
            self._loads_since_base = 0
            await self._answers()

    # Unloading

    def forget(self, name: str) -> None:
        """The engine does not know a name that we thought resident."""
        if name in self.residency.names:
            self.health.doubt()
        self.residency.forget(name)

    async def unload(self, name: str) -> None:
        """Take a name that nobody uses any more off the engine. Raises `EngineFault`."""
        await self.control.unload_adapter(name)
        self.residency.leaving.pop(name, None)

    async def reconcile(self) -> list[int]:
        """Drop versions that the engine no longer lists; return their ids. Raises `EngineFault`."""
        listed = await self.control.models()
        # While a load runs, a name that we do not know may be on its way in.
        return self.residency.compare(listed, strays_leave=not self.loading.locked())

    async def close(self) -> None:
        """Close every connection."""
        await self.control.close()


async def _forget_quietly(engine: ManagedEngine, name: str) -> None:
    if not engine.health.serves:
        engine.residency.leaving[name] = NOT_TOLD
        return
    try:
        await engine.control.unload_adapter(name)
    except EngineFault as error:
        log.warning("could not unload %s from %s: %s", name, engine.url, error)
        engine.residency.leaving[name] = NOT_TOLD
