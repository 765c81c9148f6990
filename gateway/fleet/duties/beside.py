"""Work of a duty beside the rounds, which wait for no database and no storage that is busy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from gateway.fleet.requests import Errands


@dataclass(slots=True)
class Beside:
    """One piece of work, again and again, and never twice at the same time."""

    errands: Errands
    every_s: float = 0.0
    """From one beginning to the next, at least."""
    _running: asyncio.Task[None] | None = field(default=None, init=False)
    _began_s: float = field(default=float("-inf"), init=False)

    def begin(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Begin it, unless it is under way or was begun just now. Raises what the last time has ended with."""
        if self._running is not None:
            if not self._running.done():
                return
            ended, self._running = self._running, None
            ended.result()
        if time.monotonic() - self._began_s >= self.every_s:
            self._began_s = time.monotonic()
            self._running = self.errands.run(work())
