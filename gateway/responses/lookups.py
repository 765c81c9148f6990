"""Work in the database, or on files, beside the event loop, for tenants who take turns."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from gateway.errors import RateLimited
from gateway.turns import Few, Turns, in_thread

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
        self._turns = Turns(AT_ONCE)
        self._waiting = Few(MOST_WAITING)

    async def do(self, tenant: str, work: Callable[[], T]) -> T:
        """What `work` returns. Raises `RateLimited`, or what it raises.

        Who waits for it may go: its thread is the tenant's until the work is done.
        """
        if (leave := self._waiting.take(tenant)) is None:
            raise RateLimited(
                f"{MOST_WAITING} look-ups of this tenant wait for their turn.",
                code="concurrency_limit",
                retry_after_s=1,
            )
        try:
            give_back = await self._turns.take(tenant)
        except BaseException:
            leave()
            raise
        return await in_thread(self._threads, work, give_back, leave)

    def close(self) -> None:
        """End the threads when their work is done."""
        self._threads.shutdown(wait=False, cancel_futures=True)
