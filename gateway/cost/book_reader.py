"""What counters need of the ledger: what was spent before they counted, and by others."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from gateway.cost.counters import Counter
from registry.db import now_ms
from registry.spending import Books, Spent
from registry.windows import day_of, month_of

log = logging.getLogger("switchyard.limits")
READ_AGAIN_S = (0.0, 1.0, 5.0, 30.0, 120.0, 600.0)
"""When a counter reads what was spent before it, from its begin on: attempts of that time end and are shipped late."""
READ_EVERY_MS = 600_000
"""And afterwards: corrections are booked at any time."""
POLL_S = 0.25
ENDED_EVERY_S = 5.0
"""How often the ledger is asked which other processes have ended: it has all that they spent, and no lender needs to
keep what they had.
"""
READ_TIMEOUT_S = 2.0
"""Longest wait of a request for the ledger."""


class Ledger(Protocol):
    """What was spent, by whom: `registry.spending.SpendingBooks`. Blocking."""

    def window(self, since_ms: int, until_ms: int, writer: str, counts_since_ms: int) -> Books:
        """By scope and writer; of `writer` itself what it did before it counted."""

    def ended(self) -> frozenset[str]:
        """Writers of which no more will come."""


class BookReader:
    """Reads the ledger for the counters of this process."""

    def __init__(self, ledger: Ledger, writer: str, counters: Callable[[], Iterable[Counter]]) -> None:
        """`writer` names the process in the ledger."""
        self._ledger = ledger
        self._writer = writer
        self._counters = counters
        self._ended: frozenset[str] = frozenset()
        """Processes that are dead and of which the ledger has all."""

    async def run(self) -> None:
        """For ever: read from the ledger what was spent before each budget was counted, and by others."""
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
        """Wait for the ledger, which a scope that has budgets only now needs once; false: it took too long."""
        deadline_s = time.monotonic() + READ_TIMEOUT_S
        while not counter.books_read and time.monotonic() < deadline_s:
            await asyncio.sleep(POLL_S / 10)
        return counter.books_read > 0

    def _note_ended(self, writers: frozenset[str]) -> None:
        """What the lender still keeps for these processes, which are dead, is what the ledger says."""
        if writers != self._ended:
            self._ended = writers
            for counter in self._counters():
                counter.read_again_ms = 0

    def read(self) -> None:
        """Read the ledger for all that are due. Blocking; for the start, before there are requests."""
        self._take(self._fetch(self._due()))

    def _due(self) -> dict[int, list[Counter]]:
        """Counters that should ask the ledger now, by when they began."""
        at_ms = now_ms()
        due: dict[int, list[Counter]] = {}
        for counter in self._counters():
            if counter.budgets and at_ms >= counter.read_again_ms:
                due.setdefault(counter.since_ms, []).append(counter)
        return due

    def _fetch(self, due: Mapping[int, list[Counter]]) -> list[_Reading]:
        """Blocking, and counts nothing: what was read is taken by the event loop, which counts meanwhile."""
        readings = []
        for since_ms, counters in due.items():
            at_ms, ended = now_ms(), self._ended
            day, month = (
                self._ledger.window(*window, self._writer, since_ms) for window in (day_of(at_ms), month_of(at_ms))
            )
            readings.append(_Reading(counters, at_ms, ended, day, month))
        return readings

    def _take(self, readings: list[_Reading]) -> None:
        for reading in readings:
            for counter in reading.counters:
                day, month = (
                    (books.before.get(counter.scope, Spent()), books.others.get(counter.scope, {}))
                    for books in (reading.day, reading.month)
                )
                counter.read(reading.at_ms, day, month)
                counter.ended_writers = reading.ended
                times = counter.books_read
                counter.read_again_ms = (
                    counter.since_ms + int(READ_AGAIN_S[times] * 1000)
                    if times < len(READ_AGAIN_S)
                    else reading.at_ms + READ_EVERY_MS
                )


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the ledger said, at an instant."""

    counters: list[Counter]
    at_ms: int
    ended: frozenset[str]
    day: Books
    month: Books
