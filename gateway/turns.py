"""Turns by name, most often a tenant's: whoever wants much at once waits for himself."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")
GiveBack = Callable[[], None]
"""Ends a turn; called once."""


class Turns:
    """So many at once of each name; others wait in the order in which they came. Unused names are forgotten."""

    def __init__(self, at_once: int = 1) -> None:
        self._at_once = at_once
        self._by_name: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def take(self, name: str) -> GiveBack:
        """Return when it is the caller's turn."""
        mine = self._by_name.get(name)
        if mine is None:
            mine = self._by_name[name] = asyncio.Semaphore(self._at_once)
        await mine.acquire()
        return mine.release


class LoopTurns:
    """One start of each name in each turn of the event loop: whoever sends much at once waits for himself, and for
    nothing while nobody else is there.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, name: str) -> None:
        """Return when it is the caller's turn."""
        waiting, loop = self._waiting.get(name), asyncio.get_running_loop()
        if waiting is None:
            self._waiting[name] = deque()
            loop.call_soon(self._next, name)
            return
        turn = loop.create_future()
        waiting.append(turn)
        await turn

    def _next(self, name: str) -> None:
        waiting = self._waiting[name]
        while waiting and (turn := waiting.popleft()):
            if not turn.done():
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._next, name)
                return
        del self._waiting[name]


class Few:
    """At most so many at once of each name: who would be one more is told at once. Unused names are forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    def take(self, name: str) -> GiveBack | None:
        """One more; `None` when there are as many as may be."""
        if self._taken[name] >= self._most:
            return None
        self._taken[name] += 1
        return partial(self._give_back, name)

    def _give_back(self, name: str) -> None:
        self._taken[name] -= 1
        if not self._taken[name]:
            del self._taken[name]


async def in_thread(threads: Executor, work: Callable[[], T], *give_back: GiveBack) -> T:
    """What `work` returns, done by one of the threads. Raises what it raises.

    Who waits for it may go: the turns that it is done in end with the work, and not before.
    """

    def done(working: asyncio.Future[Any]) -> None:
        for end in give_back:
            end()
        if not working.cancelled():
            working.exception()  # which nobody hears of who has gone

    try:
        working = asyncio.get_running_loop().run_in_executor(threads, work)
    except BaseException:  # the threads have ended
        for end in give_back:
            end()
        raise
    working.add_done_callback(done)
    try:
        return await asyncio.shield(working)
    finally:
        del (
            working
        )  # or what it raised, its traceback, this frame and it would wait in a ring for the garbage collector
