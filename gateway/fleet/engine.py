"""One engine as the controller manages it: its boot, what is resident, loading with proof, unloading."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from gateway.fleet.connection import EngineClient
from gateway.fleet.effect import MIN_STRENGTH, strength
from gateway.fleet.quirks import Platform, Quirks, quirks_of
from gateway.fleet.view import EngineView
from gateway.fleet.vllm import AdapterRejected, EngineFault, VllmControl
from registry.effect_proof import Difference, Probe, read_proof

log = logging.getLogger("switchyard.fleet")


@dataclass(frozen=True, slots=True)
class EngineDeclaration:
    """An engine as the settings declare it."""

    url: str
    base_digest: str
    platform: Platform
    max_cpu_loras: int
    api_key: str | None = None


@dataclass(frozen=True, slots=True)
class Resident:
    """An adapter that the engine holds and that passed its probe."""

    name: str
    folder: Path
    strength: float | None
    """Strength of the proven effect; `None` when the version carries no proof."""
    fully_proven: bool
    """Whether every probe was replayed, and not only the first."""


class ManagedEngine:
    """Mutable state of one engine; only the controller touches it.

    Invariant: a name in `resident` was loaded and verified on the boot in `boot`, and no name is used twice on a boot,
    not even after a failed load: vLLM would mix or crash requests of the old and the new one.
    """

    def __init__(self, declared: EngineDeclaration) -> None:
        self.declared = declared
        self.url = declared.url
        self.control = VllmControl(declared.url, declared.api_key)
        self.client = EngineClient(declared.url)
        self.healthy = False
        self.boot: float | None = None
        self.version = "unknown"
        self.quirks = Quirks(None, base_needs_zero_adapter=True)
        self.fault: str | None = "not contacted yet"
        self.resident: dict[int, Resident] = {}
        self.base_name: str | None = None
        self.loading = asyncio.Lock()
        self._sequence = 0

    @property
    def names(self) -> set[str]:
        """Every adapter name that this gateway has put on the engine and not taken off."""
        held = {resident.name for resident in self.resident.values()}
        return held | ({self.base_name} if self.base_name and self.quirks.base_needs_zero_adapter else set())

    @property
    def free_slots(self) -> int:
        """Adapters that can still be loaded, one place kept for a swap. The count is ours: vLLM never refuses."""
        return self.declared.max_cpu_loras - 1 - len(self.names)

    def view(self) -> EngineView:
        """What the request path may know."""
        resident = {version: entry.name for version, entry in self.resident.items()}
        return EngineView(self.url, self.client, self.declared.base_digest, self.base_name, MappingProxyType(resident))

    async def check(self, zero_adapter: Path) -> bool:
        """Contact the engine; on a new boot forget everything and make the base servable. True on a new boot.

        Raises `EngineFault` when the engine cannot serve now.
        """
        if not await self.control.healthy():
            raise EngineFault("/health does not answer 200")
        boot = await self.control.boot_time()
        if boot == self.boot and self.base_name is not None:
            return False
        async with self.loading:  # else a load that begins now would be taken for a stranger
            await self._take_over(boot, zero_adapter)
        return True

    async def _take_over(self, boot: float, zero_adapter: Path) -> None:
        self.resident.clear()
        self.base_name = None
        # Names must not come back on a boot, not even after a restart of the gateway: so the numbering begins at the
        # boot's age in milliseconds, which no predecessor can have reached by counting loads.
        self._sequence = max(self._sequence, int((time.time() - boot) * 1000))
        self.boot = boot
        self.version = await self.control.version()
        self.quirks = quirks_of(self.version, self.declared.platform)
        if self.quirks.refused:
            raise EngineFault(self.quirks.refused)
        await self._unload_strangers()
        self.base_name = await self._make_base_servable(zero_adapter)

    async def _unload_strangers(self) -> None:
        """Adapters of an earlier gateway on the same boot go: nobody counts their requests."""
        for card in (await self.control.models()).values():
            if card.parent is not None:
                await self.control.unload_adapter(card.id)

    async def _make_base_servable(self, zero_adapter: Path) -> str:
        if self.quirks.base_needs_zero_adapter:
            name = self._next_name("0" * 16)
            await self.control.load_adapter(name, zero_adapter)
            return name
        return next(card.id for card in (await self.control.models()).values() if card.parent is None)

    def _next_name(self, digest: str) -> str:
        self._sequence += 1
        return f"a-{digest.removeprefix('sha256:')[:16]}-{self._sequence}"

    async def load(self, version_id: int, digest: str, folder: Path, *, full_proof: bool) -> Resident:
        """Load and verify a version; it is in `resident` only if all of it worked. Raises `EngineFault`."""
        name = self._next_name(digest)
        boot = self.boot
        await self.control.load_adapter(name, folder)
        try:
            measured = await self._verify(name, folder, full_proof)
        except BaseException:
            await self._forget_quietly(name)
            raise
        if self.boot != boot:
            raise EngineFault("the engine restarted during the load")
        self.resident[version_id] = Resident(name, folder, measured, full_proof)
        return self.resident[version_id]

    def holds(self, version_id: int, *, fully_proven: bool) -> bool:
        """Whether the version can take traffic here, with all of its probes replayed if that is asked."""
        entry = self.resident.get(version_id)
        return entry is not None and (entry.fully_proven or not fully_proven)

    async def prove_fully(self, version_id: int) -> Resident:
        """Replay every probe of a resident version; it leaves `resident` when they fail. Raises `EngineFault`."""
        entry = self.resident[version_id]
        try:
            measured = await self._verify(entry.name, entry.folder, full_proof=True)
        except AdapterRejected:
            del self.resident[version_id]
            await self._forget_quietly(entry.name)  # requests that run on it are finished by vLLM all the same
            raise
        self.resident[version_id] = Resident(entry.name, entry.folder, measured, fully_proven=True)
        return self.resident[version_id]

    async def _verify(self, name: str, folder: Path, full_proof: bool) -> float | None:
        """Listed under our name and folder; answers as itself; shows the effect that its proof promises."""
        card = (await self.control.models()).get(name)
        if card is None or card.root != str(folder):
            raise EngineFault(f"{name} is not listed by the engine after loading")
        proof = read_proof(folder)
        if proof is None:
            if not await self.control.answers_as(name, salt=name):
                raise EngineFault(f"the engine answers requests for {name} under another name")
            return None
        return await self._prove(name, proof.probes if full_proof else proof.probes[:1])

    async def _prove(self, name: str, probes: tuple[Probe, ...]) -> float:
        base = self.base_name
        assert base is not None
        asked = [difference for probe in probes for difference in probe.strongest()]

        async def served_minus_base(one: Difference) -> float:
            with_adapter = await self.control.next_token_logprob(name, one.prefix, one.token, salt=name)
            return with_adapter - await self.control.next_token_logprob(base, one.prefix, one.token, salt=name)

        served = await asyncio.gather(*(served_minus_base(one) for one in asked))
        expected = [one.expected for one in asked]
        measured = strength(served, expected)
        if measured < MIN_STRENGTH:
            raise AdapterRejected(
                f"effect proof failed: the served adapter shows {measured:.2f} of the trained effect "
                f"(at least {MIN_STRENGTH} is needed); the engine does not apply these weights"
            )
        return measured

    async def unload(self, name: str) -> None:
        """Take a name that is out of `resident` already off the engine. Raises `EngineFault`."""
        await self.control.unload_adapter(name)

    async def _forget_quietly(self, name: str) -> None:
        try:
            await self.control.unload_adapter(name)
        except EngineFault as error:
            log.warning("could not unload %s from %s: %s", name, self.url, error)

    async def reconcile(self) -> list[int]:
        """Drop versions that the engine no longer lists; return their ids. Raises `EngineFault`."""
        listed = await self.control.models()
        gone = [
            version_id
            for version_id, entry in self.resident.items()
            if entry.name not in listed or listed[entry.name].root != str(entry.folder)
        ]
        for version_id in gone:
            del self.resident[version_id]
        if self.base_name is not None and self.base_name not in listed:
            self.base_name = None  # the next check makes the base servable again
        return gone

    def down(self, reason: str) -> None:
        """Take the engine out of the routes; what it holds is decided when it answers again."""
        if self.healthy or self.fault != reason:
            log.warning("engine %s is down: %s", self.url, reason)
        self.healthy = False
        self.fault = reason

    async def close(self) -> None:
        """Close every connection."""
        self.client.close()
        await self.control.close()
