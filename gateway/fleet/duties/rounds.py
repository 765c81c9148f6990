"""The leader's rounds: every duty in its turn. One that fails is done again later and holds up no other."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger("switchyard.fleet")
SHORTEST_ROUND_S = 0.05
"""However often somebody wakes the leader, rounds do not follow each other more closely."""
FIRST_PAUSE_S = 0.25
"""Before a duty that failed is done again; twice as long each time, up to `LONGEST_PAUSE_S`."""
LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class Round:
    """Which kind of round it is."""

    reconciles: bool
    """One of those, every few seconds, in which everything is compared with what should be."""
    woken: bool
    """Somebody did not want to wait for it: the catalog changed, or a request could not reach an engine."""

    def __or__(self, other: Round) -> Round:
        """One in which everything is done that is done in either."""
        return Round(self.reconciles or other.reconciles, self.woken or other.woken)


class Duty(Protocol):
    """One thing that the leader does."""

    @property
    def name(self) -> str:
        """By which people are shown it."""

    def is_due(self, this: Round) -> bool:
        """Whether it is done in this round."""

    async def do(self, this: Round) -> None:
        """Once. What it raises is shown, and it is done again."""


@dataclass(slots=True)
class _Standing:
    fault: str | None = None
    """What it raised when it was done last."""
    owed: Round | None = None
    """In which it was not done, when it failed."""
    pause_s: float = FIRST_PAUSE_S
    not_before_s: float = 0.0


class Rounds:
    """The rounds of one term."""

    def __init__(
        self,
        duties: Sequence[Duty],
        reconcile_interval_s: float,
        pause_s: Callable[[], float],
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`pause_s`: how long until the next round, unless somebody wakes the leader. `on_failure` is told the name of
        a duty each time that it fails.
        """
        self._on_failure = on_failure
        self._duties = duties
        self._reconcile_interval_s = reconcile_interval_s
        self._pause_s = pause_s
        self._standings = {duty.name: _Standing() for duty in duties}
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Begin the next round now."""
        self._wake.set()

    def faults(self) -> dict[str, str | None]:
        """Of every duty, what it raised when it was done last; `None` when it was done."""
        return {name: standing.fault for name, standing in self._standings.items()}

    async def run(self) -> None:
        """Round after round, until cancelled."""
        reconciled_s, woken = float("-inf"), True
        while True:
            reconciles = time.monotonic() - reconciled_s >= self._reconcile_interval_s
            if reconciles:
                reconciled_s = time.monotonic()
            for duty in self._duties:
                await self._do(duty, Round(reconciles, woken))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._wake.wait()
            await asyncio.sleep(SHORTEST_ROUND_S)
            woken = self._wake.is_set()
            self._wake.clear()

    async def _do(self, duty: Duty, this: Round) -> None:
        """In its turn; one that failed is owed until it is done."""
        standing = self._standings[duty.name]
        if standing.owed is not None:
            this = standing.owed = this | standing.owed
        if not duty.is_due(this) and standing.owed is None:
            return
        if time.monotonic() < standing.not_before_s:
            return
        try:
            await duty.do(this)
        except Exception as error:
            if standing.fault is None:
                log.exception("the leader's duty %s failed, and is done again", duty.name)
            self._on_failure(duty.name)
            standing.fault = f"{type(error).__name__}: {error}"
            standing.owed = this
            standing.not_before_s = time.monotonic() + standing.pause_s
            standing.pause_s = min(2 * standing.pause_s, LONGEST_PAUSE_S)
        else:
            if standing.fault is not None:
                log.warning("the leader's duty %s is done", duty.name)
            self._standings[duty.name] = _Standing()
