"""Spans that wait to be told, and the thread that tells them. Nobody else waits: not for a collector that is slow, away
or dead. What there is no room for is dropped, and counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from telemetry.spans import Ended

log = logging.getLogger("switchyard.telemetry")
EVERY_S = 1.0
MOST_AT_ONCE = 512
ENDS_WITHIN_S = 3.0
COMPLAINS_EVERY_S = 60.0
Tell = Callable[[Sequence[Ended]], bool]
"""Tells some spans to a collector, within a bounded time; whether that has got them."""


class Outbox:
    """For any thread that ends spans, and one that tells them."""

    def __init__(self, tell: Tell, close: Callable[[], None], *, most_waiting: int) -> None:
        """`close` ends a `tell` that is under way, and frees what it has open."""
        self._tell, self._close = tell, close
        self._waiting: deque[Ended] = deque()
        self._most = most_waiting
        self.told = 0
        """How many spans the collector has got."""
        self.dropped = 0
        """How many found no room here."""
        self.refused = 0
        """How many the collector did not take, or not in time."""
        self._complained_s = -COMPLAINS_EVERY_S
        self._complained_of = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def take(self, span: Ended) -> None:
        """One more."""
        if len(self._waiting) < self._most:
            self._waiting.append(span)
        else:
            self.dropped += 1

    def close(self) -> None:
        """Tell what waits, as far as that goes in a few seconds."""
        self._ends.set()
        self._thread.join(ENDS_WITHIN_S)
        self._close()

    def _run(self) -> None:
        while not self._ends.wait(EVERY_S):
            self._tell_all()
        self._tell_all()

    def _tell_all(self) -> None:
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
            try:
                good = self._tell(some)
            except Exception:  # of what cannot be told the others must not hear
                log.exception("spans could not be told")
                good = False
            if good:
                self.told += len(some)
            else:
                self.refused += len(some)
            self._complain()
            if not good:
                return

    def _complain(self) -> None:
        lost, now_s = self.dropped + self.refused, time.monotonic()
        if lost > self._complained_of and now_s - self._complained_s >= COMPLAINS_EVERY_S:
            log.warning(
                "spans were lost: %d found no room, %d did not reach the collector (OTEL_EXPORTER_OTLP_ENDPOINT)",
                self.dropped,
                self.refused,
            )
            self._complained_of, self._complained_s = lost, now_s
