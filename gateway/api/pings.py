"""Signs of life for streams on which nothing comes: proxies cut connections that idle.

One clock for all streams of the process: a timer for each would cost 20 µs, and looking at a thousand of them takes a
tenth of a millisecond a second.
"""

from __future__ import annotations

import asyncio
import time

from gateway.api.respond import Respond

LOOK_EVERY_S = 1.0


class Pings:
    """The streams that are open. One that was silent for `every_s` is sent a comment; 0 sends none."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._open: set[Respond] = set()

    def watch(self, respond: Respond) -> None:
        """From now to its end this stream is not silent for much longer than `every_s`."""
        if self._every_s:
            respond.keep_open(self._open)

    async def run(self) -> None:
        """Look after them; forever."""
        while self._every_s:
            await asyncio.sleep(min(LOOK_EVERY_S, self._every_s / 4))
            due_s = time.monotonic() - self._every_s
            for respond in [one for one in self._open if one.spoke_s <= due_s]:
                respond.ping()
