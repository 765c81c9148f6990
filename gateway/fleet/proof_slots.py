"""Slots for proofs that no request waits for: those of swaps and preloads, and of what an engine is asked for that has
refused an adapter.

A proof is a request on one more adapter: without a slot it waits in the engine, where it takes the next one that falls
free, or never gets one. Slots are the workers' to give (`AdapterSlots`). So the controller asks one of them to have one
for the proof, as if a request of its own ran on the adapter.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

from gateway.fleet.adapter_slots import AdapterSlots
from gateway.fleet.hub import Hub, WorkerLink
from gateway.fleet.slot_messages import ProofSlot, ProofSlotLeft, ProofSlotWanted
from gateway.fleet.view import ColdAdapterFailed
from gateway.fleet.wire import FromWorker
from registry.catalog.snapshot import VersionEntry

LOOK_S = 0.25
"""So often it is looked whether the worker that was asked is still there."""
MOST_S = 120.0
"""Longest wait for a slot."""


class ProofSlots:
    """Of one controller's term: those that it asks for."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._ids = count(1)
        self._answers: dict[int, asyncio.Future[bool]] = {}
        self._wanted: dict[tuple[str, int], int] = {}
        """Engine URL and version id → what is asked for its proof."""

    @asynccontextmanager
    async def one(self, url: str, version: VersionEntry, *, waits: bool) -> AsyncIterator[bool]:
        """A slot for the version's proof on an engine; whether it was had, as only who `waits` waits for one, in its
        tenant's turn. Where no worker is linked none is needed. Raises `ColdAdapterFailed` after `MOST_S`.
        """
        wanted = ProofSlotWanted(next(self._ids), url, version.id, version.tenant, waits)
        self._answers[wanted.id] = asyncio.get_running_loop().create_future()
        self._wanted[url, version.id] = wanted.id
        try:
            yield await self._answered(wanted, version)
        finally:
            del self._answers[wanted.id]
            del self._wanted[url, version.id]
            self._hub.broadcast(ProofSlotLeft(wanted.id))

    def take(self, message: ProofSlot) -> None:
        """A worker's answer."""
        self._answer(message.id, message.had)

    def is_had(self, url: str, version_id: int) -> None:
        """A request has the slot: nobody needs to wait for it."""
        if (wanted := self._wanted.get((url, version_id))) is not None:
            self._answer(wanted, True)

    def _answer(self, wanted: int, had: bool) -> None:
        answer = self._answers.get(wanted)
        if answer is not None and not answer.done():
            answer.set_result(had)

    async def _answered(self, wanted: ProofSlotWanted, version: VersionEntry) -> bool:
        """Ask a worker, and another one when it goes."""
        answer, links, ends_s = self._answers[wanted.id], self._hub.links, time.monotonic() + MOST_S
        asked: WorkerLink | None = None
        while not answer.done():
            if asked is None or links.get(asked.worker) is not asked:
                asked = next(iter(links.values()), None)
                if asked is None:
                    return True
                asked.send(wanted)
            await asyncio.wait((answer,), timeout=LOOK_S)
            if time.monotonic() > ends_s:
                raise ColdAdapterFailed(
                    f"{version.name} waited {MOST_S:g} s to be proven: all the while the engine ran as many adapters "
                    "as it may",
                    permanent=False,
                )
        return answer.result()


class HeldForProofs:
    """Of one worker: the slots that it has for the controller's proofs, each until the controller or the link goes."""

    def __init__(self, slots: AdapterSlots, send: Callable[[FromWorker], None]) -> None:
        self._slots = slots
        self._send = send
        self._held: dict[int, asyncio.Task[None]] = {}

    def take(self, message: ProofSlotWanted | ProofSlotLeft) -> None:
        """What the controller says."""
        match message:
            case ProofSlotWanted():
                self._held[message.id] = asyncio.create_task(self._hold(message))
            case ProofSlotLeft():
                if (held := self._held.pop(message.id, None)) is not None:
                    held.cancel()

    def end(self) -> None:
        """There is no controller any more: its successor asks anew."""
        for held in self._held.values():
            held.cancel()
        self._held.clear()

    async def _hold(self, wanted: ProofSlotWanted) -> None:
        slots, where = self._slots, (wanted.url, wanted.adapter)
        if wanted.waits:
            if not slots.join(*where, wanted.tenant):
                await slots.wait(*where, wanted.tenant)
        elif not slots.join_as_guest(*where, wanted.tenant):
            self._send(ProofSlot(wanted.id, had=False))
            return
        try:
            self._send(ProofSlot(wanted.id, had=True))
            await asyncio.get_running_loop().create_future()
        finally:
            slots.leave(*where)
