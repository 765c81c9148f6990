"""What a client does wrong is a line in the log once in a while, and not each time: it would be theirs to fill."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

EVERY_S = 10.0


class Seldom(logging.Filter):
    """Lets each warning of uvicorn through once in `EVERY_S`, with the number of those that were held back since."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._told: dict[str, tuple[float, int]] = {}
        """Text (uvicorn's own, a handful) → when it was told last, and how often it was held back since."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is written; faults of ours always are."""
        if record.levelno != logging.WARNING:
            return True
        now, text = self._now(), str(record.msg)
        at_s, held = self._told.get(text, (-EVERY_S, 0))
        if now - at_s < EVERY_S:
            self._told[text] = at_s, held + 1
            return False
        self._told[text] = now, 0
        if held:
            record.msg = f"{record.getMessage()} ({held} more since the last line)"
            record.args = ()
        return True
