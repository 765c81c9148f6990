"""Whose adapter an engine loads next. It loads one at a time, and a tenant with many that are cold must not make others
wait for all of them.

Turns go by start-time fair queueing over the seconds that loads take (Goyal, Vin and Cheng, 1996): a load is marked
with the time at which the tenant's last one ends in an engine of its own that is as fast as its share, and the
smallest mark is next. So a tenant that has had nothing waits for the load that runs, and for no other's queue.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class LoadQueue:
    """Of one engine. `now` is a clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}
        self._ends: dict[str, float] = {}
        """Tenant → when the loads that it has had end, on a clock that stands still but for loads."""
        self._clock = 0.0
        """The mark of the load that runs, or ran last."""
        self._taken = False

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def waiting(self, tenant: str) -> int:
        """Loads of a tenant that wait for their turn."""
        return len(self._lines.get(tenant, ()))

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """The engine loads what the block loads, and nothing else."""
        if self._taken:
            await self._wait(tenant)
        self._taken = True
        self._clock = mark = self._mark(tenant)
        began_s = self._now()
        try:
            yield
        finally:
            self._ends[tenant] = mark + self._now() - began_s
            self._next()

    async def _wait(self, tenant: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line = self._lines.setdefault(tenant, deque())
        line.append(turn)
        try:
            await asyncio.shield(turn)
        except asyncio.CancelledError:
            if turn.done():
                self._next()
            else:
                line.remove(turn)
                if not line:
                    del self._lines[tenant]
            raise

    def _mark(self, tenant: str) -> float:
        return max(self._clock, self._ends.get(tenant, 0.0))

    def _next(self) -> None:
        """Let the next one in, who then has the turn."""
        self._taken = bool(self._lines)
        if not self._taken:  # what a tenant has had while nobody waited does not count against it
            self._clock = max((self._clock, *self._ends.values()))
        self._ends = {tenant: ends for tenant, ends in self._ends.items() if ends > self._clock}
        if self._taken:
            tenant = min(self._lines, key=self._mark)
            line = self._lines[tenant]
            line.popleft().set_result(None)
            if not line:
                del self._lines[tenant]
