"""Work about large bodies, beside the event loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from gateway.turns import Turns, in_thread

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
        self._tenants, self._all = Turns(), Turns()

    async def do(self, tenant: str, body_bytes: int, work: Callable[[], T]) -> T:
        """What `work` about a body returns, which runs in the thread if the body is large, and else at once.

        Who waits for it may go: it is its tenant's turn until the work is done.
        """
        if body_bytes < LARGE_BYTES:
            return work()
        end_mine = await self._tenants.take(tenant)
        try:
            end_all = await self._all.take("")
        except BaseException:
            end_mine()
            raise
        return await in_thread(self._thread, work, end_all, end_mine)

    def close(self) -> None:
        """End the thread when its work is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)
