"""Work in the database, or on files, beside the event loop, for tenants who take turns."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from gateway.errors import RateLimited

T = TypeVar("T")
THREADS = 4
AT_ONCE = 2
"""Of one tenant: so one alone leaves others half of the threads."""
MOST_WAITING = 512
"""Of one tenant."""


class Lookups:
    """Of one process."""

    def __init__(self, name: str = "lookups") -> None:
        """`name` is that of its threads."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=name)
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._waiting: Counter[str] = Counter()

    async def do(self, tenant: str, work: Callable[[], T]) -> T:
        """What `work` returns. Raises `RateLimited`, or what it raises.

        Who waits for it may go: its thread is the tenant's until the work is done.
        """
        if self._waiting[tenant] >= MOST_WAITING:
            raise RateLimited(
                f"{MOST_WAITING} look-ups of this tenant wait for their turn.",
                code="concurrency_limit",
                retry_after_s=1,
            )
        mine = self._turns.get(tenant)
        if mine is None:
            mine = self._turns[tenant] = asyncio.Semaphore(AT_ONCE)
        self._waiting[tenant] += 1
        try:
            await mine.acquire()
        except BaseException:
            self._leave(tenant)
            raise
        working = asyncio.get_running_loop().run_in_executor(self._threads, work)
        working.add_done_callback(partial(self._done, tenant, mine))
        return await asyncio.shield(working)

    def _done(self, tenant: str, mine: asyncio.Semaphore, working: asyncio.Future[Any]) -> None:
        mine.release()
        self._leave(tenant)
        if not working.cancelled():
            working.exception()  # which nobody hears of who has gone

    def _leave(self, tenant: str) -> None:
        self._waiting[tenant] -= 1
        if not self._waiting[tenant]:
            del self._waiting[tenant]

    def close(self) -> None:
        """End the threads when their work is done."""
        self._threads.shutdown(wait=False, cancel_futures=True)
