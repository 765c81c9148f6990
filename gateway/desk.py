"""Work about large bodies, beside the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from gateway.clerk import Clerk
from gateway.turns import Turns, in_thread

T = TypeVar("T")
LARGE_BYTES = 32_768
"""Of a body whose work may take longer than to hand it to a thread and back, 0.1 ms."""
LEAST_WAIT_S = 0.001
HERE_BYTES = 1 << 19
"""Of bodies that are worked on here while the clerk starts, which takes some tenths of a second: such a piece of work
holds up everybody for some milliseconds. What is more waits for the clerk.
"""
STARTS_WITHIN_S, LOOK_S = 10.0, 0.05
"""Later the work is done here all the same."""
IDLE_S = 300.0
"""The clerk's process ends when it was asked nothing for so long."""


class Desk:
    """One thread for what takes long about large bodies. One piece of work at a time: several threads would take turns
    with the event loop for the interpreter, and it would have to wait for each of them.

    Tenants take turns, so that whoever sends many large bodies waits for himself. What can be is done by a clerk, who
    does not need our interpreter.
    """

    def __init__(self, on_waited: Callable[[float], None] = lambda _: None) -> None:
        """`on_waited` is told the seconds for which work has waited for its turn, if it has."""
        self._on_waited = on_waited
        self.clerk = Clerk()
        self._idle: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="large-bodies")
        self._tenants, self._all = Turns(), Turns()
        self._starting: asyncio.Task[None] | None = None
        """Ends when the clerk reads, or is late."""
        self._here_bytes = 0
        """Of bodies that did not wait for it since it was there last."""

    async def do(self, tenant: str, body_bytes: int, work: Callable[[], T]) -> T:
        """What `work` about a body returns, which runs in the thread if the body is large, and else at once.

        Who waits for it may go: it is its tenant's turn until the work is done.
        """
        if body_bytes < LARGE_BYTES:
            return work()
        asked_s = time.monotonic()
        end_mine = await self._tenants.take(tenant)
        try:
            end_all = await self._all.take("")
        except BaseException:
            end_mine()
            raise
        if (waited_s := time.monotonic() - asked_s) >= LEAST_WAIT_S:
            self._on_waited(waited_s)
        return await in_thread(self._thread, work, end_all, end_mine)

    async def ask(self, tenant: str, body_bytes: int, work: Callable[[], T]) -> T:
        """Likewise, by the clerk (`Clerk.do` says what work that can be)."""
        if body_bytes < LARGE_BYTES:
            return work()
        try:
            if not self.clerk.reads:
                await self._may_do_here(body_bytes)
            return await self.do(tenant, body_bytes, partial(self.clerk.do, work))
        finally:
            if self.clerk.reads:
                self._here_bytes = 0
            self._wait_idly()

    async def _may_do_here(self, body_bytes: int) -> None:
        """Return at once while little has been done here, and else when the clerk reads or is late."""
        self._here_bytes += body_bytes
        if self._here_bytes > HERE_BYTES:
            if self._starting is None or self._starting.done():
                self._starting = asyncio.create_task(self._clerk_reads())
            await asyncio.shield(self._starting)

    async def _clerk_reads(self) -> None:
        loop = asyncio.get_running_loop()
        late_s = loop.time() + STARTS_WITHIN_S
        while loop.time() < late_s and not await loop.run_in_executor(self._thread, self.clerk.is_there):
            await asyncio.sleep(LOOK_S)

    def _wait_idly(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._thread.submit, self.clerk.rest)

    def close(self) -> None:
        """End the thread and the clerk when the work that they do is done."""
        if self._idle is not None:
            self._idle.cancel()
        if self._starting is not None:
            self._starting.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)
        self.clerk.close()
