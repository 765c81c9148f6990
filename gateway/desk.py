"""Work about large bodies, beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")
LARGE_BYTES = 32_768
"""Of a body whose work may take longer than to hand it to a thread and back, 0.1 ms."""


class Desk:
    """One thread for what takes long about large bodies. One piece of work at a time: several threads would take turns
    with the event loop for the interpreter, and it would have to wait for each of them.

    Tenants take turns, so that whoever sends many large bodies waits for himself.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="large-bodies")
        self._turn = asyncio.Lock()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def do(self, tenant: str, body_bytes: int, work: Callable[[], T]) -> T:
        """What `work` about a body returns, which runs in the thread if the body is large, and else at once."""
        if body_bytes < LARGE_BYTES:
            return work()
        mine = self._turns.get(tenant)
        if mine is None:
            mine = self._turns[tenant] = asyncio.Lock()
        async with mine, self._turn:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """End the thread when its work is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)
