"""How long a body may take, and one clock for all that are under way: a timer for each costs more than to read a short
one. Long ones come by turns of their tenants.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from gateway.turns import LoopTurns

LOOK_EVERY_S = 0.1


class Reading(Protocol):
    """A body that is under way."""

    due_s: float
    """When it has taken too long, on the loop's clock."""

    def give_up(self) -> None:
        """It has."""


class BodyBounds(NamedTuple):
    """Of one body."""

    max_bytes: int
    timeout_s: float
    bytes_per_s: float
    """Fewer are too slow."""


class BodyClock:
    """It runs only while there are any, and gives one up at most `LOOK_EVERY_S` late."""

    def __init__(self, bounds: BodyBounds) -> None:
        self.bounds = bounds
        """Of each."""
        self.turns = LoopTurns()
        """In which the pieces of long ones are read, by tenant."""
        self._readings: set[Reading] = set()
        self._runs = False

    def add(self, reading: Reading) -> None:
        """Watch it, until it is discarded."""
        self._readings.add(reading)
        if not self._runs:
            self._runs = True
            asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)

    def discard(self, reading: Reading) -> None:
        """It is complete, or nobody waits for it."""
        self._readings.discard(reading)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        for reading in [one for one in self._readings if one.due_s <= loop.time()]:
            self._readings.discard(reading)
            reading.give_up()
        self._runs = bool(self._readings)
        if self._runs:
            loop.call_later(LOOK_EVERY_S, self._look)
