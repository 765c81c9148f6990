"""What counters need of the ledger: what other processes, and earlier lives of this one, have spent."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from gateway.limits.counters import Counter
from gateway.limits.windows import Name, bounds_of
from registry.days import DAY_MS
from registry.limits.spending import Parts

log = logging.getLogger("switchyard.limits")
NAMES: tuple[Name, ...] = ("daily", "monthly")
READ_AGAIN_S = (0.0, 1.0, 5.0, 30.0, 120.0, 600.0)
"""Pauses between the first readings of a counter: attempts of others end and are shipped late."""
READ_EVERY_S = 600.0
"""And afterwards: corrections are booked at any time."""
POLL_S = 0.25
ENDED_EVERY_S = 5.0
"""How often the ledger is asked which other processes have ended: it has all that they spent, and no lender needs to
keep what they had.
"""
READ_TIMEOUT_S = 2.0
"""Longest wait of a request for the ledger."""


class Ledger(Protocol):
    """What was spent, by whom: `registry.limits.spending.SpendingBooks`. Blocking."""

    def window(self, since_ms: int, until_ms: int, but: str = "") -> Parts:
        """By scope and writer, without the writer `but`."""

    def ended(self) -> frozenset[str]:
        """Writers of which no more will come."""


class BookReader:
    """Reads the ledger for the counters of this process."""

    def __init__(
        self, ledger: Ledger, writer: str, counters: Callable[[], Iterable[Counter]], clock_ms: Callable[[], int]
    ) -> None:
        """`writer` names the process in the ledger."""
        self._ledger = ledger
        self._clock_ms = clock_ms
        self._writer = writer
        self._counters = counters
        self._ended: frozenset[str] = frozenset()
        """Processes that are dead and of which the ledger has all."""

    async def run(self) -> None:
        """For ever: read from the ledger what others have spent of each budget."""
        looked_s = -math.inf
        while True:
            try:
                if time.monotonic() > looked_s + ENDED_EVERY_S:
                    self._note_ended(await asyncio.to_thread(self._ledger.ended))
                    looked_s = time.monotonic()
                if due := self._due():
                    self._take(await asyncio.to_thread(self._fetch, due))
            except SQLAlchemyError as error:
                log.warning("budgets go on from what was known: %s", error)
            await asyncio.sleep(POLL_S)

    async def until_read(self, counter: Counter) -> bool:
        """Wait for the ledger, which a budget needs once for each of its windows; false: it took too long."""
        deadline_s = time.monotonic() + READ_TIMEOUT_S
        while counter.unread and time.monotonic() < deadline_s:
            await asyncio.sleep(POLL_S / 10)
        return not counter.unread

    def _note_ended(self, writers: frozenset[str]) -> None:
        """What the lender still keeps for these processes, which are dead, is what the ledger says."""
        if writers != self._ended:
            self._ended = writers
            for counter in self._counters():
                counter.read_again_s = -math.inf

    def read(self) -> None:
        """Read the ledger for all that are due. Blocking; for the start, before there are requests."""
        self._take(self._fetch(self._due()))

    def _due(self) -> list[Counter]:
        """Counters that should ask the ledger now."""
        now_s = time.monotonic()
        return [one for one in self._counters() if one.budgets and (one.unread or now_s >= one.read_again_s)]

    def _fetch(self, due: list[Counter]) -> _Reading:
        """Blocking, and counts nothing: what was read is taken by the event loop, which counts meanwhile.

        The windows of tomorrow are read too, so that nobody waits for the ledger at midnight.
        """
        at_ms, ended = self._clock_ms(), self._ended
        windows = {(name, bounds_of(name, when_ms)) for name in NAMES for when_ms in (at_ms, at_ms + DAY_MS)}
        return _Reading(due, ended, {(name, at[0]): self._ledger.window(*at, self._writer) for name, at in windows})

    def _take(self, reading: _Reading) -> None:
        now_s = time.monotonic()
        for counter in reading.counters:
            counter.ended_writers = reading.ended
            counter.read({window: parts.get(counter.scope, {}) for window, parts in reading.windows.items()})
            times = counter.books_read
            counter.read_again_s = now_s + (READ_AGAIN_S[times] if times < len(READ_AGAIN_S) else READ_EVERY_S)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the ledger said, by window and when that begins."""

    counters: list[Counter]
    ended: frozenset[str]
    windows: Mapping[tuple[Name, int], Parts]
