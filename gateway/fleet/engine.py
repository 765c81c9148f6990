"""One engine as the controller manages it: its boot, its state, what is resident; loading with proof, unloading."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.fleet.effect import MIN_STRENGTH, strength
from gateway.fleet.fingerprint import MAX_DISAGREEMENT_NATS, base_agreement
from gateway.fleet.look import Look
from gateway.fleet.quirks import Platform, Quirks, quirks_of
from gateway.fleet.renderings import rendering_difference
from gateway.fleet.vllm import (
    FAILS,
    AdapterRejected,
    CannotCompare,
    Card,
    EngineFault,
    NotListed,
    ProbeRefused,
    ProofBroken,
    Silent,
    VllmControl,
)
from gateway.fleet.wire import EngineState
from gateway.handoffs import Ability
from registry.catalog import VersionEntry
from registry.effect_proof import Difference, Probe, read_proof
from registry.fingerprint import Fingerprint

log = logging.getLogger("switchyard.fleet")
OUR_NAMES = "a-"
ZERO_DIGEST = "0" * 16
PROBE_STUCK_S = 1.5
LOAD_PAUSES_S = (0.25, 1.0)
"""Before a load that was refused is tried again, under another name: a 500 may be one of the moment."""
FIRST_EXAMINATION_S, LAST_EXAMINATION_S = 5.0, 300.0
"""A refused engine is looked at again after the first, then twice as long each time."""
FIRST_BAR_S, LAST_BAR_S = 15.0, 300.0
"""A version that an engine refuses and others prove is loaded elsewhere for so long, and then for longer each time."""
NOT_TOLD = sys.maxsize
"""In place of a view revision: workers may still route to the name, and have not been told otherwise."""


def short_digest(digest: str) -> str:
    """The part of a manifest's digest that an adapter's name on an engine has."""
    return digest.removeprefix("sha256:")[:16]


def digest_in(name: str) -> str:
    """That part of a name on an engine; "" in a name that is none of ours."""
    return name.removeprefix(OUR_NAMES).partition("-")[0] if name.startswith(OUR_NAMES) else ""


class EngineRefused(EngineFault):
    """An engine that works, and that must not serve."""


@dataclass(frozen=True, slots=True)
class EngineDeclaration:
    """An engine as the settings declare it."""

    url: str
    base_digest: str
    platform: Platform
    max_cpu_loras: int
    api_key: str | None = None
    fingerprint: Fingerprint | None = None
    """What its base answers to a few questions; without one the declaration is believed."""
    prompt_logprobs: bool = True
    """Whether it survives being asked for them."""
    refuses_other_template: bool = True
    """Whether it must not serve when it renders conversations otherwise than its base; else that is only said."""
    hung_after_s: float = 60.0
    """Requests in flight, and no step and no byte for so long: the engine hangs."""


@dataclass(frozen=True, slots=True)
class Resident:
    """An adapter that the engine holds and that passed its probe."""

    name: str
    folder: Path
    strength: float | None
    """Strength of the proven effect; `None` when the version carries no proof."""
    fully_proven: bool
    """Whether every probe was replayed, and not only the first."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Why a version is not loaded on an engine, until when (`time.monotonic()`), and how long that is in seconds."""

    reason: str
    until_s: float
    pause_s: float


class ManagedEngine:
    """Mutable state of one engine; only the controller touches it.

    Invariant: a name in `resident` was loaded and verified on the boot in `boot`, and no name is used twice on a boot,
    not even after a failed load or by the next controller: vLLM would mix or crash requests of the old and the new one.
    """

    def __init__(self, declared: EngineDeclaration, term: int = 0) -> None:
        self.declared = declared
        self.url = declared.url
        self.control = VllmControl(declared.url, declared.api_key)
        self.boot: float | None = None
        self.version = "unknown"
        self.quirks = Quirks(None, base_needs_zero_adapter=True)
        self.lacks: frozenset[Ability] = frozenset()
        """What this boot cannot do."""
        self.max_model_len: int | None = None
        """Its --max-model-len: tokens of prompt and answer together."""
        self.look: Look | None = None
        self.fault: str | None = "not contacted yet"
        self.drained = False
        self.resident: dict[int, Resident] = {}
        self.adoptable: dict[int, tuple[str, Path]] = {}
        """Versions that an earlier controller loaded on this boot, and that nobody vouches for: load() proves them."""
        self.leaving: dict[str, int] = {}
        """Names out of the routes, with the view revision that took them out; unloaded when nobody uses them."""
        self.foreign: set[str] = set()
        """Adapters that somebody else has put there: they take places, and are not ours to unload."""
        self.base_name: str | None = None
        self.base_distance: float | None = None
        """How far the served base is from the registered one, in nats; `None` when there is nothing to compare with."""
        self.chat_template = "unverified: not contacted yet"
        """Whether it renders conversations as its base does: "same", or what is known instead, for people."""
        self.loading = asyncio.Lock()
        self._barred: dict[int, Bar] = {}
        """Version ids that others prove and that are not loaded here for a while."""
        self._examined_again_s = 0.0
        """`time.monotonic()` from which a refused engine may show that it works."""
        self._refusals = 0
        """Since it was in traffic last."""
        self._condition: EngineState = "new"
        self._doubted_s: float | None = None
        """`time.monotonic()` of a sign that it has restarted; `None` when it has been looked at since."""
        self._term = term
        self._sequence = 0
        self._loads_since_base = 0
        self._shelf = Path()
        """Where our adapters are read from."""
        self._silent_since_s: float | None = None
        self._patience: asyncio.Timeout | None = None
        """Of a load in progress; it ends when the engine hangs."""
        self._moved_s = 0.0
        """`time.monotonic()` of the last sign of progress, or of having nothing to do."""

    # State

    @property
    def state(self) -> EngineState:
        """What is known of it, with the operator's order on top."""
        return "draining" if self.drained and self.healthy else self._condition

    @property
    def healthy(self) -> bool:
        """Whether adapters can be loaded on it and requests on it go on."""
        return self._condition in ("up", "slow")

    @property
    def remark(self) -> str | None:
        """What people should know of an engine that serves."""
        return f"its chat template {self.chat_template}" if self.chat_template.startswith("differs") else None

    @property
    def in_doubt(self) -> bool:
        """Whether it lost something of ours, and has not been looked at since: it may have restarted meanwhile."""
        return self._doubted_s is not None

    @property
    def names(self) -> set[str]:
        """Every adapter name that takes a place on the engine, as far as we know."""
        held = {resident.name for resident in self.resident.values()} | set(self.leaving) | self.foreign
        held |= {name for name, _ in self.adoptable.values()}
        return held | ({self.base_name} if self.base_name and self.quirks.base_needs_zero_adapter else set())

    def places_left(self, *, for_swap: bool = False) -> int:
        """Adapters that can still be loaded, one place kept for a swap. The count is ours: vLLM never refuses."""
        return self.declared.max_cpu_loras - (0 if for_swap else 1) - len(self.names)

    def routes(self) -> dict[int, str]:
        """Version id → name, for the request path."""
        return {version: entry.name for version, entry in self.resident.items()}

    def holds(self, version_id: int, *, fully_proven: bool) -> bool:
        """Whether the version can take traffic here, with all of its probes replayed if that is asked."""
        entry = self.resident.get(version_id)
        return entry is not None and (entry.fully_proven or not fully_proven)

    def bars(self, version_id: int) -> str | None:
        """Why a version is not loaded here now; `None` when it may be."""
        bar = self._barred.get(version_id)
        return bar.reason if bar is not None and bar.until_s > time.monotonic() else None

    def barred(self) -> dict[int, tuple[str, float]]:
        """Version id → why it is not loaded here, and for how many more seconds."""
        now = time.monotonic()
        return {key: (bar.reason, bar.until_s - now) for key, bar in self._barred.items() if bar.until_s > now}

    def bar(self, version_id: int, reason: str) -> None:
        """Load a version elsewhere for a while: this engine refuses what others prove."""
        before = self._barred.get(version_id)
        pause_s = min(LAST_BAR_S, 2 * before.pause_s) if before is not None else FIRST_BAR_S
        self._barred[version_id] = Bar(reason, time.monotonic() + pause_s, pause_s)

    def refuse(self, reason: str) -> None:
        """It must not serve until it has shown that it works, and nothing that it holds is believed any more."""
        self.down(reason, "refused")
        for version_id in list(self.resident):
            self.leaving[self.take_out(version_id)] = NOT_TOLD
        self.leaving.update(dict.fromkeys((name for name, _ in self.adoptable.values()), NOT_TOLD))
        self.adoptable.clear()

    def down(self, reason: str, condition: EngineState = "down") -> None:
        """Take the engine out of the routes; what it holds is decided when it answers again."""
        if self.fault != reason:
            log.warning("engine %s is %s: %s", self.url, condition, reason)
        if condition == "refused":
            pause_s = min(LAST_EXAMINATION_S, FIRST_EXAMINATION_S * 2**self._refusals)
            self._examined_again_s = time.monotonic() + pause_s
            self._refusals = min(self._refusals + 1, 16)
        self._condition = condition
        self.fault = reason
        if condition == "hung" and self._patience is not None:
            self._patience.reschedule(0.0)
            self._patience = None

    # Checking

    async def check(
        self,
        find: Finder,
        zero_adapter: Path,
        *,
        in_flight: int,
        heard_s: float,
        examine: Callable[[], Awaitable[None]] | None = None,
    ) -> bool:
        """Look at the engine; on a boot that is new to us find out what it holds. True on such a boot.

        So too when one that was refused is taken back. `examine` raises `EngineRefused` for an engine that cannot do
        its work; it is asked before the engine takes traffic on a boot on which nothing was proven.
        `in_flight` are our workers' requests and our loads on it, `heard_s` is when (`time.monotonic()`) one of the
        workers last got a byte.
        The state afterwards says what was found.
        """
        began_s = time.monotonic()
        try:
            return await self._check(find, zero_adapter, examine, in_flight=in_flight, heard_s=heard_s)
        finally:
            if self._doubted_s is not None and self._doubted_s <= began_s:
                self._doubted_s = None

    async def _check(
        self,
        find: Finder,
        zero_adapter: Path,
        examine: Callable[[], Awaitable[None]] | None,
        *,
        in_flight: int,
        heard_s: float,
    ) -> bool:
        try:
            look = await self.control.look()
        except Silent as error:
            self._silent(str(error), heard_s)
            return False
        except EngineFault as error:
            self.look = None
            self._silent_since_s = None
            self.down(str(error))
            return False
        self._silent_since_s = None
        was_refused = self._condition == "refused"
        if was_refused and look.boot == self.boot and time.monotonic() < self._examined_again_s:
            return False
        if look.boot != self.boot or self.base_name is None or was_refused:
            return await self._meet(look, find, zero_adapter, examine)
        stuck_s = self._stuck_s(look, in_flight, heard_s)
        if self._condition == "hung" or stuck_s >= self.declared.hung_after_s / 2:  # so that the probe's time counts
            asked_s = time.monotonic()
            if await self._answers():
                self._up()
            elif (stuck_s := stuck_s + time.monotonic() - asked_s) >= self.declared.hung_after_s:
                self.down(f"{look.running + look.waiting} requests on it, and no step for {stuck_s:.0f} s", "hung")
        elif self._condition != "up":
            self._up()
        return False

    def _silent(self, reason: str, heard_s: float) -> None:
        """No answer in time: a busy engine does that too (vLLM's single-process mode answers between two steps)."""
        now = time.monotonic()
        if self._silent_since_s is None:
            self._silent_since_s = now
        if now - max(self._silent_since_s, heard_s) >= self.declared.hung_after_s:
            self.down(f"{reason}; nothing came for {self.declared.hung_after_s:g} s", "hung")
        elif self._condition == "up":
            self._condition, self.fault = "slow", reason
        elif self._condition == "new":
            self.down(reason)

    def _stuck_s(self, look: Look, in_flight: int, heard_s: float) -> float:
        """Seconds since the engine last made a step, sent a byte, or had nothing to do."""
        now = time.monotonic()
        idle = look.running + look.waiting + in_flight == 0
        if idle or self.look is None or look.steps != self.look.steps:
            self._moved_s = now
        self.look = look
        return now - max(self._moved_s, heard_s)

    async def _answers(self) -> bool:
        """Whether the base answers one token soon. False also when the engine has lost it meanwhile."""
        if self.base_name is None:
            return False
        salt = f"{self._term}-{time.monotonic_ns()}"
        try:
            return await self.control.answers_as(self.base_name, salt, timeout_s=PROBE_STUCK_S)
        except EngineFault:
            return False

    def _up(self) -> None:
        if not self.healthy:
            log.info("engine %s is up: vLLM %s", self.url, self.version)
        self._condition, self.fault = "up", None
        self._refusals = 0
        self._moved_s = time.monotonic()

    async def _meet(
        self, look: Look, find: Finder, zero_adapter: Path, examine: Callable[[], Awaitable[None]] | None
    ) -> bool:
        new_boot = look.boot != self.boot or self._condition == "refused"
        async with self.loading:  # else a load that begins now would be taken for a stranger
            began_s = time.monotonic()
            try:
                await self._take_over(look, find, zero_adapter)
                if examine is not None and not self.resident:
                    await examine()
            except EngineRefused as error:
                self.refuse(str(error))
                return False
            except EngineFault as error:
                self.down(str(error))
                return False
        self.look = look
        self._up()
        log.info("took engine %s over in %.2f s", self.url, time.monotonic() - began_s)
        return new_boot

    async def _take_over(self, look: Look, find: Finder, zero_adapter: Path) -> None:
        if look.boot != self.boot:
            self.resident.clear()
            self.leaving.clear()
            self._barred.clear()
            # Names must not come back on a boot, not even when the database was thrown away and terms begin at 1 again:
            # so the numbering begins at the boot's age in milliseconds, which no counting of loads can have reached.
            self._sequence = max(self._sequence, int((time.time() - look.boot) * 1000))
            self.boot = look.boot
        self.base_name = None
        self.version = await self.control.version()
        self.quirks = quirks_of(self.version, self.declared.platform)
        if self.quirks.refused:
            raise EngineRefused(self.quirks.refused)
        cards = await self.control.models()
        self._sort_out(cards, find, zero_adapter)
        base_name = await self._make_base_servable(cards, zero_adapter)
        await self._recognise_base(base_name)
        await self._compare_renderings(base_name)
        self.lacks = await self._find_what_it_lacks(base_name)
        self.max_model_len = next((card.max_model_len for card in cards.values() if card.max_model_len), None)
        self.base_name = base_name

    async def _compare_renderings(self, base_name: str) -> None:
        """Adapters and the base were trained on prompts as the base's own chat template makes them."""
        fingerprint = self.declared.fingerprint
        if fingerprint is None or fingerprint.renderings is None:
            self.chat_template = (
                "unverified: the base was registered without renderings of its chat template; "
                "`switchyard base fingerprint NAME FOLDER` takes them"
            )
            return
        if not fingerprint.renderings:
            self.chat_template = "unverified: the base has no chat template, or one that prints the date"
            return
        difference = await rendering_difference(self.control, base_name, fingerprint.renderings)
        self.chat_template = "same" if difference is None else f"differs: {difference}"
        if difference is None:
            return
        remedy = "start it with the base's own chat template"
        if self.declared.refuses_other_template:
            raise EngineRefused(
                f"its chat template is not the base's: {difference}; {remedy}, "
                "or set SWITCHYARD_ENGINE_CHAT_TEMPLATE=warn"
            )
        log.warning("engine %s has another chat template than its base: %s; %s", self.url, difference, remedy)

    async def _find_what_it_lacks(self, base_name: str) -> frozenset[Ability]:
        calls_tools = await self.control.calls_tools(base_name)
        lacks: dict[Ability, bool] = {
            "tool_calls": not calls_tools,
            "prompt_logprobs": not self.declared.prompt_logprobs,
        }
        return frozenset(ability for ability, lacking in lacks.items() if lacking)

    async def _recognise_base(self, base_name: str) -> None:
        """Adapters on another base than theirs answer garbage, and vLLM takes them: so ask whether it is the one."""
        if self.declared.fingerprint is None:
            return
        # One question a text: a restarted engine should not be kept waiting. `switchyard doctor` asks all of them.
        questions = self.declared.fingerprint.questions(a_probe=1)
        self.base_distance = await base_agreement(self.control, base_name, questions)
        if self.base_distance > MAX_DISAGREEMENT_NATS:
            raise EngineRefused(
                f"it serves another base model than it is declared to: {self.base_distance:.2f} nats away, and up to "
                f"{MAX_DISAGREEMENT_NATS} is the same model; declare its base in SWITCHYARD_ENGINES, or start it with "
                "the right one"
            )

    def _sort_out(self, cards: dict[str, Card], find: Finder, zero_adapter: Path) -> None:
        """What lies on the engine: ours that somebody vouches for, ours to be proven, to be unloaded, and others'."""
        self._shelf = zero_adapter.parent
        self.resident = {key: entry for key, entry in self.resident.items() if entry.name in cards}
        self.adoptable.clear()
        self.foreign = set()
        kept = {entry.name for entry in self.resident.values()} | set(self.leaving)
        for card in sorted(cards.values(), key=lambda card: card.id not in find.trusted):
            if card.parent is None or card.id in kept:
                continue
            if not self._is_ours(card):
                self.foreign.add(card.id)
                continue
            folder = Path(card.root)
            taken = self.resident.keys() | self.adoptable.keys()
            version = next((one for one in find.versions(folder) if one.id not in taken), None)
            if folder == zero_adapter or version is None:
                self.leaving[card.id] = NOT_TOLD
            elif card.id in find.trusted:
                self.resident[version.id] = Resident(card.id, folder, None, fully_proven=False)
            else:
                self.adoptable[version.id] = (card.id, folder)

    def _is_ours(self, card: Card) -> bool:
        """Whether a controller of this fleet has loaded it. Another fleet's has our kind of name, and another folder:
        it is left alone, or two fleets on one engine would unload each other's adapters without end.
        """
        return card.id.startswith(OUR_NAMES) and Path(card.root).parent == self._shelf

    async def _make_base_servable(self, cards: dict[str, Card], zero_adapter: Path) -> str:
        if not self.quirks.base_needs_zero_adapter:
            return next(card.id for card in cards.values() if card.parent is None)
        for name in list(self.leaving):
            if name in cards and cards[name].root == str(zero_adapter):  # workers may be using it
                del self.leaving[name]
                return name
        try:
            name = await self._load_patiently(ZERO_DIGEST, zero_adapter)
            await self._require_listed(name, zero_adapter)
        except FAILS as error:
            raise EngineRefused(f"it does not load adapters, not even one of zeros: {error}") from error
        return name

    def _next_name(self, digest: str) -> str:
        self._sequence += 1
        return f"{OUR_NAMES}{short_digest(digest)}-{self._term}-{self._sequence}"

    # Loading

    async def load(self, version_id: int, digest: str, folder: Path, *, full_proof: bool) -> Resident:
        """Load and verify a version; it is in `resident` only if all of it worked. Raises `EngineFault`."""
        boot = self.boot
        name, _ = self.adoptable.pop(version_id, ("", folder))
        async with self._while_it_works():
            if not name:
                name = await self._load_patiently(digest, folder)
            try:
                measured = await self._verify(name, folder, full_proof)
            except BaseException:
                await self._forget_quietly(name)
                raise
        if self.boot != boot:
            raise EngineFault("the engine restarted during the load")
        self.resident[version_id] = Resident(name, folder, measured, full_proof)
        await self._keep_base_warm()
        return self.resident[version_id]

    async def try_out(self, digest: str, folder: Path) -> float | None:
        """Load an adapter under a name of its own, prove it, and take it off again. Raises `EngineFault`.

        Its value is the strength of the effect, `None` for an adapter without a proof. For who holds `loading`.
        """
        async with self._while_it_works():
            name = await self._load_patiently(digest, folder)
            try:
                return await self._verify(name, folder, full_proof=False)
            finally:
                self.leaving[name] = NOT_TOLD  # in case it cannot be unloaded now
                with suppress(EngineFault):
                    await self.unload(name)

    async def _load_patiently(self, digest: str, folder: Path) -> str:
        """Load a folder, and try again when that is refused; its name. Raises `EngineFault`."""
        for pause_s in (*LOAD_PAUSES_S, None):
            name = self._next_name(digest)
            try:
                await self.control.load_adapter(name, folder)
                break
            except AdapterRejected as error:
                if pause_s is None:
                    raise
                log.warning("engine %s refused a load, which is tried again: %s", self.url, error)
            await asyncio.sleep(pause_s)
        return name

    async def _keep_base_warm(self) -> None:
        """A load may put out what the engine used longest ago, and that must not be the zero adapter: the next base
        request would have it read from disk in the middle of everybody's step. So use it, long before its turn comes.
        """
        self._loads_since_base += 1
        if self.quirks.base_needs_zero_adapter and 2 * self._loads_since_base >= self.declared.max_cpu_loras:
            self._loads_since_base = 0
            await self._answers()

    async def prove_fully(self, version_id: int) -> Resident:
        """Replay every probe of a resident version; it leaves `resident` when they fail. Raises `EngineFault`."""
        entry = self.resident[version_id]
        try:
            async with self._while_it_works():
                measured = await self._verify(entry.name, entry.folder, full_proof=True)
        except AdapterRejected as error:
            del self.resident[version_id]
            await self._forget_quietly(entry.name)  # requests that run on it are finished by vLLM all the same
            raise ProofBroken(str(error)) from error
        self.resident[version_id] = Resident(entry.name, entry.folder, measured, fully_proven=True)
        return self.resident[version_id]

    @asynccontextmanager
    async def _while_it_works(self) -> AsyncIterator[None]:
        """Give up inside the block when the engine is found hung: others could serve what waits for it."""
        try:
            async with asyncio.timeout(None) as self._patience:
                yield
        except TimeoutError:
            raise EngineFault("the engine hung meanwhile") from None
        finally:
            self._patience = None

    async def _verify(self, name: str, folder: Path, full_proof: bool) -> float | None:
        """Listed under our name and folder; answers as itself; shows the effect that its proof promises."""
        await self._require_listed(name, folder)
        proof = await asyncio.to_thread(read_proof, folder)
        if proof is None or proof.indistinguishable:  # nothing to measure; whoever promoted the latter insisted
            try:
                right = await self.control.answers_as(name, salt=name)
            except ProbeRefused as error:
                await self._refuse_comparison()
                raise AdapterRejected(str(error)) from error
            if not right:
                raise EngineFault(f"the engine answers requests for {name} under another name")
            return None
        return await self._prove(name, proof.probes if full_proof else proof.probes[:1])

    async def _require_listed(self, name: str, folder: Path) -> None:
        card = (await self.control.models()).get(name)
        if card is None or card.root != str(folder):
            raise NotListed("the engine says that it has loaded the adapter, and does not list it")

    async def _prove(self, name: str, probes: Sequence[Probe]) -> float:
        base = self.base_name
        if base is None:
            raise EngineFault("the engine cannot serve its base model now, so nothing can be compared with it")
        asked = [difference for probe in probes for difference in probe.strongest()]

        async def served_minus_base(one: Difference) -> float:
            try:
                of_base = await self.control.next_token_logprob(base, one.prefix, one.token, salt=name)
            except ProbeRefused as error:
                raise CannotCompare(f"the base's half of its proof cannot be measured: {error}") from error
            try:
                return await self.control.next_token_logprob(name, one.prefix, one.token, salt=name) - of_base
            except ProbeRefused as error:
                raise AdapterRejected(f"{error}, and for the base it does") from error

        served = await asyncio.gather(*(served_minus_base(one) for one in asked))
        expected = [one.expected for one in asked]
        measured = strength(served, expected)
        if measured < MIN_STRENGTH:
            raise AdapterRejected(
                f"effect proof failed: the served adapter shows {measured:.2f} of the trained effect "
                f"(at least {MIN_STRENGTH} is needed); the engine does not apply these weights"
            )
        return measured

    async def _refuse_comparison(self) -> None:
        """Raises `CannotCompare` when the base cannot answer either."""
        if self.base_name is None:
            raise EngineFault("the engine cannot serve its base model now, so nothing can be compared with it")
        try:
            await self.control.answers_as(self.base_name, salt=f"{self._term}-{time.monotonic_ns()}")
        except ProbeRefused as error:
            raise CannotCompare(f"the base cannot answer either: {error}") from error

    # Unloading

    def take_out(self, version_id: int) -> str:
        """Take a version out of the routes; its name, which stays on the engine until `unload`."""
        return self.resident.pop(version_id).name

    def forget(self, name: str) -> None:
        """The engine does not know a name that we thought resident."""
        if name in self.names:
            self._doubted_s = time.monotonic()
        self.resident = {key: entry for key, entry in self.resident.items() if entry.name != name}
        self.leaving.pop(name, None)
        if self.base_name == name:
            self.base_name = None  # the next check makes the base servable again

    async def unload(self, name: str) -> None:
        """Take a name that nobody uses any more off the engine. Raises `EngineFault`."""
        await self.control.unload_adapter(name)
        self.leaving.pop(name, None)

    def told(self, revision: int) -> None:
        """Workers were told with this revision of the view what the engine holds, and what not any more."""
        self.leaving = {name: revision if at == NOT_TOLD else at for name, at in self.leaving.items()}

    async def _forget_quietly(self, name: str) -> None:
        if not self.healthy:
            self.leaving[name] = NOT_TOLD
            return
        try:
            await self.control.unload_adapter(name)
        except EngineFault as error:
            log.warning("could not unload %s from %s: %s", name, self.url, error)
            self.leaving[name] = NOT_TOLD

    async def reconcile(self) -> list[int]:
        """Drop versions that the engine no longer lists; return their ids. Raises `EngineFault`.

        What it lists under a name of ours that we do not know came of a load that had been given up: it is unloaded.
        """
        listed = await self.control.models()
        gone = [
            version_id
            for version_id, entry in self.resident.items()
            if entry.name not in listed or listed[entry.name].root != str(entry.folder)
        ]
        for version_id in gone:
            del self.resident[version_id]
        adapters = {name: card for name, card in listed.items() if card.parent}
        self.foreign = {name for name, card in adapters.items() if not self._is_ours(card)}
        self.leaving = {name: revision for name, revision in self.leaving.items() if name in listed}
        self.adoptable = {key: pair for key, pair in self.adoptable.items() if pair[0] in listed}
        if not self.loading.locked():  # else one that we do not know may be on its way in
            strays = adapters.keys() - self.names  # foreign ones are among the names
            self.leaving.update(dict.fromkeys(strays, NOT_TOLD))
        if self.base_name is not None and self.base_name not in listed:
            self.base_name = None  # the next check makes the base servable again
        return gone

    async def close(self) -> None:
        """Close every connection."""
        await self.control.close()


@dataclass(frozen=True, slots=True)
class Finder:
    """How an engine's adapters are recognised: by the folder that they were read from."""

    versions: Callable[[Path], Sequence[VersionEntry]]
    """The versions that lie in a folder; several when tenants published the same bytes."""
    trusted: Collection[str]
    """Names that workers were routing to, so an earlier controller had proven them."""
