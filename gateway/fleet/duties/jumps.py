"""Telling of tenants that cost much more on the day that is over than was to be expected, once each."""

from __future__ import annotations

import asyncio
import logging

from gateway.cost.anomalies import Jump
from gateway.cost.forecast import MOST_DAYS
from gateway.cost.outlook import jumps_among
from gateway.cost.outlook_words import jump_document, jump_said
from gateway.fleet.duties.beside import Beside
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.days import DAY_MS
from registry.db import now_ms
from registry.ledger.daily_usage import DailyUsage, daily_sums, tenants_on
from registry.service import Registry

log = logging.getLogger("switchyard.fleet")
LOOK_S = 60.0
"""Between two looks whether another day is over."""
GRACE_MS = 900_000
"""After its end a day waits so long for usage that is on its way."""
TENANTS_READ = 500
"""At a time; each read goes over all sums of three months."""
TENANTS_AT_ONCE = 20
"""Between two pauses: a millisecond of arithmetic each, which the process's requests would wait for."""
PAUSE_S = 0.1


class TellOfJumps:
    """Beside the rounds, in threads and with pauses. `tells`: whether the operator has an address that is told too."""

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
        """Of the last day that is over, from where the last look at it has ended."""
        day, looks, db = _day_over(), self._registry.jump_looks, self._registry.db
        after = await asyncio.to_thread(looks.begin, day)
        while after is not None:
            tenants = await asyncio.to_thread(tenants_on, db, day, after, TENANTS_READ)
            if not tenants:
                await asyncio.to_thread(looks.end, day)
                break
            found = await self._look(day, tenants)
            documents = {jump.tenant: jump_document(jump) for jump in found}
            moved = await asyncio.to_thread(looks.move_on, day, after, tenants[-1], documents, tells=self._tells)
            for jump in found if moved else ():
                log.warning("%s", jump_said(jump))
            after = tenants[-1] if moved else await asyncio.to_thread(looks.begin, day)
        self._done_day = day

    async def _look(self, day: int, tenants: list[str]) -> list[Jump]:
        """At some tenants, a few at a time."""
        found = []
        sums = await asyncio.to_thread(_sums_of, self._registry, day, tenants)
        for at in range(0, len(tenants), TENANTS_AT_ONCE):
            some = [sums.get(tenant, []) for tenant in tenants[at : at + TENANTS_AT_ONCE]]
            found += await asyncio.to_thread(jumps_among, self._registry, some, day)
            await asyncio.sleep(PAUSE_S)
        return found


def _day_over() -> int:
    return (now_ms() - GRACE_MS) // DAY_MS - 1


def _sums_of(registry: Registry, day: int, tenants: list[str]) -> dict[str, list[DailyUsage]]:
    """By tenant."""
    by_tenant: dict[str, list[DailyUsage]] = {}
    for one in daily_sums(registry.db, day - MOST_DAYS, day + 1, (tenants[0], tenants[-1])):
        by_tenant.setdefault(one.tenant, []).append(one)
    return by_tenant
