"""Whether an engine works: what every look at it, every silence and every fault says about that."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.engines.engine import EngineState
from gateway.engines.faults import EngineFault
from gateway.engines.look import Look

log = logging.getLogger("switchyard.fleet")
FIRST_EXAMINATION_S, LAST_EXAMINATION_S = 5.0, 300.0
"""A refused engine is looked at again after the first, then twice as long each time."""


class EngineRefused(EngineFault):
    """An engine that works, and that must not serve."""


class Health:
    """Of one engine. Every time in it is one of `time.monotonic()`."""

    def __init__(self, url: str, hung_after_s: float) -> None:
        self.condition: EngineState = "new"
        """What is known of it, whatever the operator orders."""
        self.fault: str | None = "not contacted yet"
        self.drained = False
        self.look: Look | None = None
        """The newest, while it answers."""
        self._url = url
        self.hung_after_s = hung_after_s
        self._examined_again_s = 0.0
        """From when on a refused engine may show that it works."""
        self._refusals = 0
        """Since it served for longer than the longest pause: one that only passes examinations is asked ever later."""
        self._doubted_s: float | None = None
        """When there was a sign that it has restarted; `None` when it has been looked at since."""
        self._silent_since_s: float | None = None
        self._patience: set[asyncio.Timeout] = set()
        """Of loads and proofs in progress; it ends when the engine hangs."""
        self._moved_s = 0.0
        """The last sign of progress, or of having nothing to do."""

    @property
    def state(self) -> EngineState:
        """What is known of it, with the operator's order on top."""
        return "draining" if self.drained and self.serves else self.condition

    @property
    def serves(self) -> bool:
        """Whether adapters can be loaded on it and requests on it go on."""
        return self.condition in ("up", "slow")

    @property
    def in_doubt(self) -> bool:
        """Whether it lost something of ours, and has not been looked at since: it may have restarted meanwhile."""
        return self._doubted_s is not None

    def __str__(self) -> str:
        return f"{self.state}: {self.fault}"

    @property
    def may_be_examined(self) -> bool:
        """Whether enough time has passed since it was refused."""
        return time.monotonic() >= self._examined_again_s

    def starting(self) -> None:
        """It answers on a new boot, and is being met: it takes traffic soon, or else not."""
        self.condition, self.fault = "starting", "it has started, and is being examined"

    def up(self) -> None:
        """It works."""
        self.condition, self.fault = "up", None
        self._moved_s = time.monotonic()

    def down(self, reason: str, condition: EngineState = "down") -> None:
        """Take the engine out of the routes; what it holds is decided when it answers again."""
        if self.fault != reason:
            log.warning("engine %s is %s: %s", self._url, condition, reason)
        if condition == "refused":
            if time.monotonic() > self._examined_again_s + LAST_EXAMINATION_S:
                self._refusals = 0
            pause_s = min(LAST_EXAMINATION_S, FIRST_EXAMINATION_S * 2**self._refusals)
            self._examined_again_s = time.monotonic() + pause_s
            self._refusals = min(self._refusals + 1, 16)
        self.condition, self.fault = condition, reason
        if condition == "hung":
            for patience in self._patience:
                patience.reschedule(0.0)
            self._patience.clear()

    def silent(self, reason: str, heard_s: float) -> None:
        """No answer in time: a busy engine does that too (vLLM's single-process mode answers between two steps).

        `heard_s` is when one of the workers last got a byte.
        """
        now = time.monotonic()
        if self._silent_since_s is None:
            self._silent_since_s = now
        if now - max(self._silent_since_s, heard_s) >= self.hung_after_s:
            self.down(f"{reason}; nothing came for {self.hung_after_s:g} s", "hung")
        elif self.condition == "up":
            self.condition, self.fault = "slow", reason
        elif self.condition == "new":
            self.down(reason)

    def note_answer(self) -> None:
        """It answered, were it with a fault: its silence is over."""
        self._silent_since_s = None

    def stuck_s(self, look: Look, in_flight: int, heard_s: float) -> float:
        """Take a look down; seconds since the engine last made a step, sent a byte, or had nothing to do."""
        now = time.monotonic()
        idle = look.running + look.waiting + in_flight == 0
        if idle or self.look is None or look.steps != self.look.steps:
            self._moved_s = now
        self.look = look
        return now - max(self._moved_s, heard_s)

    def doubt(self) -> None:
        """There is a sign that it has restarted."""
        self._doubted_s = time.monotonic()

    def looked_at(self, began_s: float) -> None:
        """A look that began then has ended, and settles what was doubted before it."""
        if self._doubted_s is not None and self._doubted_s <= began_s:
            self._doubted_s = None

    @asynccontextmanager
    async def while_it_works(self) -> AsyncIterator[None]:
        """Give up inside the block when the engine is found hung: others could serve what waits for it."""
        try:
            async with asyncio.timeout(None) as patience:
                self._patience.add(patience)
                try:
                    yield
                finally:
                    self._patience.discard(patience)
        except TimeoutError:
            raise EngineFault("the engine hung meanwhile") from None
