"""What the one reader of a connection waits for."""

from __future__ import annotations

import asyncio


class News:
    """Wakes one reader.

    It has one timer, which is set again only when it has rung: each event of a stream is waited for anew, and a timer
    for each would cost more than to read it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        """Of who waits, or has waited last."""
        self._timer: asyncio.TimerHandle | None = None
        self._rings_s = self._due_s = 0.0
        """When the timer rings, and when who waits has waited long enough, on the loop's clock. While somebody waits,
        it rings no later than that.
        """

    def wait(self, due_s: float) -> asyncio.Future[None]:
        """To be awaited at once: done when there is news. Raises `TimeoutError` at that time on the loop's clock."""
        self.wait_until(due_s)
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def wait_until(self, due_s: float) -> None:
        """Who waits has until then."""
        self._due_s = due_s
        if self._timer is None or due_s < self._rings_s:
            self._set_timer()

    def notify(self) -> None:
        """There is news."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fail(self, error: Exception) -> None:
        """The news is an error, which whoever waits is to raise."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    def stop(self) -> None:
        """There is the last news."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.notify()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_s = self._due_s
        self._timer = self._loop.call_at(self._due_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._due_s:
            self._set_timer()
        else:
            self._waiter.set_exception(TimeoutError())
