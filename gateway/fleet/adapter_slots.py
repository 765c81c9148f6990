"""The slots of every engine as one worker has them, and its requests that wait for one."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Set
from typing import NamedTuple

from gateway.engines.names import digest_in
from gateway.fleet.slot_leases import SlotLeases
from gateway.fleet.slot_messages import SlotClosing, SlotGiven
from gateway.fleet.slots import NOBODY, Slots, Ticket
from gateway.fleet.view import EngineView
from gateway.fleet.wire import FromWorker
from gateway.handoffs import Arm

ZERO_ADAPTER = 0
"""In place of a version's id: what serves the base where it is served through an adapter."""


class Running(NamedTuple):
    """One of the adapters that run on an engine, and whose it is."""

    number: int
    tenant: str


def running_as(arm: Arm, name: str | None) -> Running | None:
    """What runs there when an engine serves the arm under this name; `None`: a base of its own, which takes no slot."""
    if (version := arm.version) is not None:
        return Running(version.id, version.tenant)
    return Running(ZERO_ADAPTER, NOBODY) if name is not None and digest_in(name) is not None else None


class AdapterSlots:
    """Of one worker. `tenants` gives the number of those that have adapters; see `Slots` for `reserve`.

    A worker that is alone, or that no controller speaks to, gives slots out itself; where workers share engines the
    controller does (`SlotLeases`), so that the bounds are those of all of them together.
    """

    def __init__(self, reserve: int = 1, tenants: Callable[[], int] = lambda: 0) -> None:
        self.on_waited: Callable[[float], None] = lambda _seconds: None
        """Told how long a request has waited, whether or not it got a slot."""
        self.leases: SlotLeases | None = None
        """While the controller gives slots out."""
        self._reserve = reserve
        self._tenants = tenants
        self._engines: dict[str, Slots] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def wanted(self) -> Set[str]:
        """URLs of the engines for whose slots requests wait."""
        if self.leases is not None:
            return self.leases.scarce
        return {url for url in self._timers if self._engines[url].waiting}

    @property
    def waiting(self) -> int:
        """Requests of this worker that wait for a slot."""
        if self.leases is not None:
            return self.leases.waiting
        return sum(self._engines[url].waiting for url in self._timers)

    def standing(self, url: str, tenant: str) -> tuple[float, int]:
        """How many adapters an engine runs at a time, and how many of those that this worker knows are a tenant's."""
        slots = self._at(url)
        return slots.most, slots.held_by(tenant) if self.leases is None else self.leases.held_by(url, tenant)

    def fit(self, most: Mapping[str, float]) -> None:
        """These engines run so many adapters at a time, `math.inf` where that is not known. Others are forgotten."""
        for url, number in most.items():
            if (slots := self._at(url)).most != number:
                slots.resize(number, time.monotonic())
        for url in [url for url, slots in self._engines.items() if url not in most and slots.idle]:
            del self._engines[url]
            if (timer := self._timers.pop(url, None)) is not None:
                timer.cancel()

    def has_slot(self, engine: EngineView, arm: Arm) -> bool:
        """Whether a request for the arm would run on the engine at once, as far as this worker knows."""
        adapter = running_as(arm, engine.status.base_name)
        if adapter is None:
            return True
        if self.leases is not None:
            return self.leases.may_join(engine.url, adapter.number)
        slots = self._engines.get(engine.url)
        return slots is None or slots.may_join(*adapter, time.monotonic())

    def join(self, url: str, adapter: int, tenant: str) -> bool:
        """Whether a request may run on the adapter now; if so, it is among its slot's users until it leaves."""
        if self.leases is not None:
            return self.leases.join(url, adapter)
        return self._at(url).join(adapter, tenant, time.monotonic())

    def join_as_guest(self, url: str, adapter: int, tenant: str) -> bool:
        """The same for a copy of a request."""
        if self.leases is not None:
            return self.leases.join_as_guest(url, adapter, tenant)
        return self._at(url).join_as_guest(adapter, tenant, time.monotonic())

    async def wait(self, url: str, adapter: int, tenant: str) -> None:
        """Return as a user of the adapter's slot. Cancelled, it is none."""
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket = Ticket(adapter, tenant, lambda: gone.set_result(None))
        began_s = time.monotonic()
        self._stand_in_line(url, ticket)
        try:
            await asyncio.shield(gone)  # so that it tells whether the turn came before the end
        except asyncio.CancelledError:
            if gone.done():
                self.leave(url, adapter)
            elif self.leases is not None:
                self.leases.give_up(url, ticket)
            else:
                self._engines[url].give_up(ticket, time.monotonic())
            raise
        finally:
            self.on_waited(time.monotonic() - began_s)

    def leave(self, url: str, adapter: int) -> None:
        """A request does not run on the adapter any more."""
        if self.leases is not None:
            self.leases.leave(url, adapter)
        else:
            self._engines[url].leave(adapter, time.monotonic())

    # Who gives slots out

    def share(self, scarce: Set[str], send: Callable[[FromWorker], None]) -> None:
        """The controller does, and some engines have too few. What runs and who waits is told to it."""
        if self.leases is not None:
            self.leases.become_scarce(scarce)
            return
        held = {}
        waiting = []
        for url, slots in self._engines.items():
            running, tickets = slots.hand_over()
            held.update({(url, adapter): (tenant, users) for adapter, tenant, users in running})
            waiting += [(url, ticket) for ticket in tickets]
        self.leases = SlotLeases(send)
        self.leases.take_over(held)
        for url, ticket in waiting:
            self.leases.wait(url, ticket)
        self.leases.become_scarce(scarce)

    def take(self, message: SlotGiven | SlotClosing) -> None:
        """What the controller says of one slot."""
        if self.leases is None:
            return
        match message:
            case SlotGiven():
                self.leases.given(message.url, message.adapter)
            case SlotClosing():
                self.leases.close(message.url, message.adapter)

    def be_alone(self) -> None:
        """This worker does."""
        if self.leases is None:
            return
        leases, self.leases = self.leases, None
        known = list(leases.hand_over())
        for (url, adapter), tenant, users, _ in known:
            if users:
                self._at(url).adopt(adapter, tenant, users, time.monotonic())
        for (url, _), _, _, waiting in known:
            for ticket in waiting:
                self._stand_in_line(url, ticket)

    def _stand_in_line(self, url: str, ticket: Ticket) -> None:
        if self.leases is not None:
            self.leases.wait(url, ticket)
            return
        slots = self._at(url)
        slots.wait(ticket, time.monotonic())
        self._review(url, slots)

    def _at(self, url: str) -> Slots:
        slots = self._engines.get(url)
        if slots is None:
            slots = self._engines[url] = Slots(math.inf, self._reserve, self._tenants)
        return slots

    def _review(self, url: str, slots: Slots) -> None:
        """Close slots for who waits, until nobody does."""
        if (timer := self._timers.pop(url, None)) is not None:
            timer.cancel()
        if (pause_s := slots.review(time.monotonic())) is not None:
            self._timers[url] = asyncio.get_running_loop().call_later(pause_s, self._review, url, slots)
