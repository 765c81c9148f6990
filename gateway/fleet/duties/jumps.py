"""Telling of tenants that cost much more on the day that is over than was to be expected, in a process of its own."""

from __future__ import annotations

import asyncio
import logging

from gateway.cost.telling import OPERATOR
from gateway.fleet.duties.aside import run_aside
from gateway.fleet.duties.beside import Beside
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.days import DAY_MS
from registry.db import now_ms
from registry.ledger.daily_usage import tenants_on
from registry.service import Registry

log = logging.getLogger("switchyard.fleet")
LOOK_S = 60.0
"""Between two looks whether another day is over."""
GRACE_MS = 900_000
"""After its end a day waits so long for usage that is on its way."""
WITHIN_S = 3_600.0
"""A process that takes longer is ended; the next one goes on from there."""


class TellOfJumps:
    """Beside the rounds. `tells`: whether the operator has an address that is told too."""

    name = "jumps"

    def __init__(self, registry: Registry, errands: Errands, *, tells: bool) -> None:
        self._registry = registry
        self._tells = tells
        self._beside = Beside(errands, LOOK_S)
        self._done_day: int | None = None

    def is_due(self, this: Round) -> bool:
        """When the round reconciles, and there is a day that this process has not done."""
        return this.reconciles and self._done_day != _day_over()

    async def do(self, this: Round) -> None:
        """Begin, unless the last time is still under way. Raises what that has ended with."""
        self._beside.begin(self.tell)

    async def tell(self) -> None:
        """Of the last day that is over. Raises `AsideFailed`."""
        day = _day_over()
        if not await asyncio.to_thread(tenants_on, self._registry.db, day, "", 1):  # nobody to tell of
            self._done_day = day
            return
        command = ("gateway.cost.telling", str(day), *((OPERATOR,) if self._tells else ()))
        for line in (await run_aside(self._registry, *command, within_s=WITHIN_S)).splitlines():
            log.warning("%s", line)
        self._done_day = day


def _day_over() -> int:
    return (now_ms() - GRACE_MS) // DAY_MS - 1
