"""Slots of adapters on engines that several workers send requests to: the controller gives them out, by `Slots`."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.fleet.hub import Hub, WorkerLink
from gateway.fleet.slot_messages import (
    Sharing,
    SlotClosing,
    SlotGiven,
    SlotLeft,
    SlotsFromWorker,
    SlotsHeld,
    SlotWanted,
)
from gateway.fleet.slots import Slots, Ticket

SCARCE_S = 5.0
"""So long after somebody has waited for a slot of an engine workers keep none that nobody uses."""
Key = tuple[str, int]
"""Engine URL, adapter."""


@dataclass(slots=True)
class _Worker:
    """What one linked worker has, and waits for."""

    told: bool = False
    """Whether it has said what it runs."""
    held: Counter[Key] = field(default_factory=Counter)
    """Twice for a moment, when a slot is given that was to be given back."""
    waits: dict[Key, Ticket] = field(default_factory=dict)


class SharedSlots:
    """Of one controller's term. A worker that is alone is told so, and gives its slots out itself.

    Invariant: no slot is given before every linked worker has said what runs already.
    """

    def __init__(self, hub: Hub, reserve: int, tenants: Callable[[], int]) -> None:
        self._hub = hub
        self._reserve = reserve
        self._tenants = tenants
        self._most: Mapping[str, float] = {}
        self._engines: dict[str, Slots] = {}
        self._workers: dict[int, _Worker] = {}
        """By the identity of their links."""
        self._scarce_until_s: dict[str, float] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        hub.on_links = self.links_changed

    def fit(self, most: Mapping[str, float]) -> None:
        """These engines run so many adapters at a time; others have left the fleet."""
        self._most = most
        self._engines = {url: slots for url, slots in self._engines.items() if url in most or not slots.idle}
        self._resize()

    def links_changed(self) -> None:
        """A worker has linked, or gone: whoever is left must know whether it is alone."""
        links = {id(link): link for link in self._hub.links.values()}
        for gone in self._workers.keys() - links.keys():
            self._forget(self._workers.pop(gone))
        if len(links) > 1:
            for number, link in links.items():
                if number not in self._workers:
                    self._workers[number] = _Worker()
                    link.send(self._sharing)
        else:
            for worker in self._workers.values():
                self._forget(worker)
            self._workers.clear()
            for link in links.values():
                link.send(Sharing(False))
        self._resize()

    def take(self, link: WorkerLink, message: SlotsFromWorker) -> None:
        """What a worker says of its slots."""
        worker = self._workers.get(id(link))
        if worker is None:  # it has been told meanwhile that it is alone
            return
        match message:
            case SlotsHeld():
                worker.told = True
                for url, adapter, tenant in message.held:
                    worker.held[url, adapter] += 1
                    self._at(url).adopt(adapter, tenant, 1, time.monotonic())
                self._resize()
            case SlotWanted():
                self._want(link, worker, message)
            case SlotLeft():
                self._left(worker, message)

    def close(self) -> None:
        """Look at nothing any more."""
        for timer in self._timers.values():
            timer.cancel()

    @property
    def _sharing(self) -> Sharing:
        return Sharing(True, tuple(self._scarce_until_s))

    def _want(self, link: WorkerLink, worker: _Worker, wanted: SlotWanted) -> None:
        key = wanted.url, wanted.adapter
        if key in worker.waits:
            return

        def give() -> None:
            del worker.waits[key]
            worker.held[key] += 1
            link.send(SlotGiven(*key))

        ticket = worker.waits[key] = Ticket(wanted.adapter, wanted.tenant, give)
        self._at(wanted.url).wait(ticket, time.monotonic())
        self._review(wanted.url)

    def _left(self, worker: _Worker, left: SlotLeft) -> None:
        key, now = (left.url, left.adapter), time.monotonic()
        if left.waited:
            if (ticket := worker.waits.pop(key, None)) is not None:
                self._at(left.url).give_up(ticket, now)
        elif worker.held[key]:
            worker.held[key] -= 1
            self._engines[left.url].leave(left.adapter, now)
        worker.held += Counter()  # without those that are 0

    def _forget(self, worker: _Worker) -> None:
        while worker.waits:  # as one gives up, another one of the same worker may get what it was closed for
            (url, _), ticket = worker.waits.popitem()
            self._engines[url].give_up(ticket, time.monotonic())
        for url, adapter in worker.held.elements():
            self._engines[url].leave(adapter, time.monotonic())

    def _at(self, url: str) -> Slots:
        slots = self._engines.get(url)
        if slots is None:

            def closed(adapter: int) -> None:
                for link in self._hub.links.values():
                    worker = self._workers.get(id(link))
                    if worker is not None and worker.held[url, adapter]:
                        link.send(SlotClosing(url, adapter))

            slots = self._engines[url] = Slots(self._most_of(url), self._reserve, self._tenants, closed)
        return slots

    def _most_of(self, url: str) -> float:
        all_told = all(worker.told for worker in self._workers.values())
        return self._most.get(url, math.inf) if all_told else 0

    def _resize(self) -> None:
        for url, slots in list(self._engines.items()):
            if slots.most != (most := self._most_of(url)):
                slots.resize(most, time.monotonic())

    def _review(self, url: str) -> None:
        """Close slots for who waits, and have none kept idle until nobody has waited for a while."""
        if (timer := self._timers.pop(url, None)) is not None:
            timer.cancel()
        now = time.monotonic()
        pause_s = self._at(url).review(now)
        before = url in self._scarce_until_s
        if pause_s is not None:
            self._scarce_until_s[url] = now + SCARCE_S
        elif before:
            pause_s = self._scarce_until_s[url] - now
            if pause_s <= 0:
                del self._scarce_until_s[url]
                pause_s = None
        if before != (url in self._scarce_until_s):
            for link in self._hub.links.values():
                if id(link) in self._workers:
                    link.send(self._sharing)
        if pause_s is not None:
            self._timers[url] = asyncio.get_running_loop().call_later(pause_s, self._review, url)
