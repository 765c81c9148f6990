"""The core's clock. It runs while the core works, and stands while a load stalls it or a fault hangs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from loadtest.mock_engine.wire import Exchange

STEP_S = 0.005
"""Seconds of the core's clock between two steps while requests run, however many they are."""


class Pace:
    """Whether the core moves, and how many steps it has made."""

    def __init__(self) -> None:
        self._holds = 0
        """Reasons to stand still: a stall, a hang."""
        self._hung = False
        self._standing_since = 0.0
        self._stood_s = 0.0
        self._moves: asyncio.Future[None] | None = None
        """Done when the core moves again; None while it moves."""
        self._reading = asyncio.Lock()
        self._running = 0
        self._busy_since = 0.0
        self._busy_s = 0.0

    def clock(self) -> float:
        """Seconds that the core has moved, from an arbitrary start."""
        return (self._standing_since if self._holds else time.perf_counter()) - self._stood_s

    @property
    def busy_steps(self) -> int:
        """Steps of the time in which requests ran."""
        running = self.clock() - self._busy_since if self._running else 0.0
        return int((self._busy_s + running) / STEP_S)

    def begin(self) -> None:
        """A request enters the batch."""
        if not self._running:
            self._busy_since = self.clock()
        self._running += 1

    def end(self) -> None:
        """A request leaves the batch."""
        self._running -= 1
        if not self._running:
            self._busy_s += self.clock() - self._busy_since

    def hang(self, on: bool) -> None:
        """Stand still until it is off again."""
        if on != self._hung:
            self._hung = on
            (self._hold if on else self._release)()

    async def read(self, seconds: float, needed: Callable[[], bool]) -> None:
        """An adapter is read, if that is still `needed` when its turn comes: everything else stands still so long.

        One at a time, and none while the core hangs.
        """
        async with self._reading:
            await self._moving()
            if seconds > 0 and needed():
                self._hold()
                try:
                    await asyncio.sleep(seconds)
                finally:
                    self._release()
                await self._moving()

    async def work(self, exchange: Exchange, seconds: float, since: float | None = None) -> float:
        """Let the core move for `seconds`; when that was done, by its clock. Raises ClientGone as soon as the client
        leaves.

        `since` is when the work before was done: a device's steps follow each other, however late this process is woken
        for one.
        """
        ends = (self.clock() if since is None else since) + seconds
        if not seconds and self._moves is None:
            await exchange.wait(0)
            return ends
        while self._moves is not None or self.clock() < ends:
            if self._moves is not None:
                await exchange.until(self._moves)
            else:
                await exchange.wait(ends - self.clock())
        return ends

    async def _moving(self) -> None:
        while self._moves is not None:
            await asyncio.shield(self._moves)

    def _hold(self) -> None:
        if not self._holds:
            self._standing_since = time.perf_counter()
            self._moves = asyncio.get_running_loop().create_future()
        self._holds += 1

    def _release(self) -> None:
        self._holds -= 1
        if not self._holds:
            assert self._moves is not None
            self._stood_s += time.perf_counter() - self._standing_since
            self._moves.set_result(None)
            self._moves = None
