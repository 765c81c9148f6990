"""How long a connection may idle."""

from __future__ import annotations

import asyncio

from gateway.serving.reading import ReadingClock


class IdleClock:
    """Closes a connection on which nobody has asked anything for `within_s`; what waits for its client is `read` first.

    It has one timer for all pauses: to set one at each answer and to cancel it at the next request would cost a
    hundredth of both.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, within_s: float, read: ReadingClock
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._within_s = within_s
        self._read = read
        self._since_s: float | None = None
        """On the loop's clock; `None` while something is asked."""
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """It idles from now on."""
        self._since_s = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._within_s, self._ring)

    def stop(self) -> None:
        """Something is asked."""
        self._since_s = None

    def close(self) -> None:
        """It is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        if self._since_s is None:
            return
        left_s = self._since_s + self._within_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._ring)
        elif not self._transport.is_closing():
            self._transport.close()
            self._read.start_if_closing()
