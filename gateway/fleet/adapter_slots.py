"""The slots of every engine as one worker has them, and its requests that wait for one."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Set

from gateway.fleet.slots import Slots, Ticket


class AdapterSlots:
    """Of one worker. `tenants` gives the number of those that have adapters; see `Slots` for `reserve`."""

    def __init__(self, reserve: int = 1, tenants: Callable[[], int] = lambda: 0) -> None:
        self._reserve = reserve
        self._tenants = tenants
        self._engines: dict[str, Slots] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.on_waited: Callable[[float], None] = lambda _seconds: None
        """Told how long a request has waited, whether or not it got a slot."""

    @property
    def wanted(self) -> Set[str]:
        """URLs of the engines for whose slots requests wait."""
        return {url for url in self._timers if self._engines[url].waiting}

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return sum(self._engines[url].waiting for url in self._timers)

    def standing(self, url: str, tenant: str) -> tuple[float, int]:
        """How many adapters an engine runs at a time, and how many of them are a tenant's."""
        slots = self._at(url)
        return slots.most, slots.held_by(tenant)

    def fit(self, most: Mapping[str, float]) -> None:
        """These engines run so many adapters at a time, `math.inf` where that is not known. Others are forgotten."""
        for url, number in most.items():
            if (slots := self._at(url)).most != number:
                slots.resize(number, time.monotonic())
        self._engines = {url: slots for url, slots in self._engines.items() if url in most or not slots.idle}

    def join(self, url: str, adapter: int, tenant: str) -> bool:
        """Whether a request may run on the adapter now; if so, it is among its slot's users until it leaves."""
        return self._at(url).join(adapter, tenant, time.monotonic())

    def join_as_guest(self, url: str, adapter: int, tenant: str) -> bool:
        """The same for a copy of a request."""
        return self._at(url).join_as_guest(adapter, tenant, time.monotonic())

    async def wait(self, url: str, adapter: int, tenant: str) -> None:
        """Return as a user of the adapter's slot. Cancelled, it is none."""
        slots = self._at(url)
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket = Ticket(adapter, tenant, lambda: gone.set_result(None))
        began_s = time.monotonic()
        slots.wait(ticket, began_s)
        self._review(url, slots)
        try:
            await asyncio.shield(gone)  # so that it tells whether the turn came before the end
        except asyncio.CancelledError:
            if gone.done():
                self.leave(url, adapter)
            else:
                slots.give_up(ticket, time.monotonic())
            raise
        finally:
            self.on_waited(time.monotonic() - began_s)

    def leave(self, url: str, adapter: int) -> None:
        """A request does not run on the adapter any more."""
        self._engines[url].leave(adapter, time.monotonic())

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
