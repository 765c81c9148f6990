"""Whose adapter an engine loads next. It loads one at a time, and a tenant with many that are cold must not make others
wait for all of them.

Turns go by start-time fair queueing over the seconds that loads take (Goyal, Vin and Cheng, 1996): a load is marked
with the time at which the tenant's last one ends in an engine of its own that is as fast as its share, and the
smallest mark is next. So a tenant that has had nothing waits for the load that runs, and for no other's queue. One that
must pause (`load_pace`) is passed by until it may go on.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

LOOK_S = 0.25
"""So often it is asked again how long who waits must pause: it need not once nobody else's requests run."""


def no_pause() -> float:
    """The load may begin as soon as it is its turn."""
    return 0.0


class _Waiter(NamedTuple):
    turn: asyncio.Future[None]
    pause_s: Callable[[], float]


class LoadQueue:
    """Of one engine. `now` is a clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lines: dict[str, deque[_Waiter]] = {}
        self._ends: dict[str, float] = {}
        """Tenant → when the loads that it has had end, on a clock that stands still but for loads."""
        self._clock = 0.0
        """The mark of the load that runs, or ran last."""
        self._taken = False
        self._timer: asyncio.TimerHandle | None = None
        """While all who wait must pause."""

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def waiting(self, tenant: str) -> int:
        """Loads of a tenant that wait for their turn."""
        return len(self._lines.get(tenant, ()))

    @asynccontextmanager
    async def turn(self, tenant: str, pause_s: Callable[[], float] = no_pause) -> AsyncIterator[None]:
        """The engine loads what the block loads, and nothing else; `pause_s` gives the seconds before which that must
        not begin.
        """
        if self._taken or pause_s() > 0:
            await self._wait(tenant, pause_s)
        self._taken = True
        self._clock = mark = self._mark(tenant)
        began_s = self._now()
        try:
            yield
        finally:
            self._ends[tenant] = mark + self._now() - began_s
            self._next()

    async def _wait(self, tenant: str, pause_s: Callable[[], float]) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line, waiter = self._lines.setdefault(tenant, deque()), _Waiter(turn, pause_s)
        line.append(waiter)
        if not self._taken:
            self._begin()
        try:
            await asyncio.shield(turn)
        except asyncio.CancelledError:
            if turn.done():
                self._next()
            else:
                line.remove(waiter)
                if not line:
                    del self._lines[tenant]
            raise

    def _mark(self, tenant: str) -> float:
        return max(self._clock, self._ends.get(tenant, 0.0))

    def _next(self) -> None:
        """The turn is over."""
        self._taken = False
        if not self._lines:  # what a tenant has had while nobody waited does not count against it
            self._clock = max((self._clock, *self._ends.values()))
        self._ends = {tenant: ends for tenant, ends in self._ends.items() if ends > self._clock}
        self._begin()

    def _begin(self) -> None:
        """Let the next one in, who then has the turn; while all must pause, look again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._taken or not self._lines:
            return
        pauses = {tenant: line[0].pause_s() for tenant, line in self._lines.items()}
        if may := [tenant for tenant, pause_s in pauses.items() if pause_s <= 0]:
            tenant = min(may, key=self._mark)
            line = self._lines[tenant]
            self._taken = True
            line.popleft().turn.set_result(None)
            if not line:
                del self._lines[tenant]
        else:
            pause_s = min(LOOK_S, *pauses.values())
            self._timer = asyncio.get_running_loop().call_later(pause_s, self._begin)
