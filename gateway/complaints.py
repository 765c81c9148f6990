"""A line in the log that every request would write anew while something is wrong."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable


class Complaint:
    """Said at the first time, and then at most once in `every_s` seconds, with how often it was due since."""

    def __init__(
        self, log: logging.Logger, *, every_s: float = 1.0, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._every_s, self._clock_s = log, every_s, clock_s
        self._said_s = -math.inf
        self._suppressed = 0

    def report(self, what: str, error: Exception) -> None:
        """It is due again."""
        now_s = self._clock_s()
        if now_s - self._said_s < self._every_s:
            self._suppressed += 1
            return
        more = f" (and {self._suppressed} times since this was said last)" if self._suppressed else ""
        self._log.error("%s: %s%s", what, error, more)
        self._said_s, self._suppressed = now_s, 0
