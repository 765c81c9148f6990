"""Whether a client reads what waits for it."""

from __future__ import annotations

import asyncio


class ReadingClock:
    """Cuts a connection whose client has read nothing for `within_s`. It runs while more waits for the client than may,
    and while the connection ends and something waits for it.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, within_s: float) -> None:
        self._transport = transport
        self._loop = loop
        self._within_s = within_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """From now on the client must read; no effect while the clock runs."""
        if self._timer is None:
            waiting_bytes = self._transport.get_write_buffer_size()
            self._timer = self._loop.call_later(self._within_s, self._look, waiting_bytes)

    def start_if_closing(self) -> None:
        """The last bytes of a connection have to be read too."""
        if self._transport.is_closing() and self._transport.get_write_buffer_size():
            self.start()

    def stop(self) -> None:
        """It has read, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, waited_bytes: int) -> None:
        self._timer = None
        if self._transport.get_write_buffer_size() >= waited_bytes:
            self._transport.abort()
        else:
            self.start()
