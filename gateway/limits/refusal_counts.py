"""How often requests are refused, and why: counted in memory, and added to the database's sums once a second.

A client that insists costs a number in memory and no row of its own. A process that is killed loses what it has counted
since it last told the database: refusals cost nobody money.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import ApiError
from gateway.handoffs import Arm, Principal
from gateway.metrics.worker import Metrics
from registry.days import day_number
from registry.db import now_ms
from registry.ledger.refusals import Refused

log = logging.getLogger("switchyard.refusals")
EVERY_S = 1.0
MOST = 10_000
"""Sums that one process keeps while the database is away; what comes then is counted without key and model."""


class RefusalCounts:
    """Those of one process."""

    def __init__(self, metrics: Metrics, add: Callable[[Mapping[Refused, int]], None]) -> None:
        """`add` brings sums to the database; blocking."""
        self._metrics = metrics
        self._add = add
        self._counts: dict[Refused, int] = {}

    def observe(self, principal: Principal | None, arm: Arm | None, error: ApiError) -> None:
        """Count one. Of strangers only metrics tell."""
        reason = (error.reason or error.code or error.type)[:60]
        self._metrics.refused(reason)
        if principal is None:
            return
        day, scope = day_number(now_ms()), error.scope or ""
        model = "" if arm is None else arm.public_name
        one = Refused(day, principal.tenant, principal.key_id, model, scope, reason)
        if one not in self._counts and len(self._counts) >= MOST:
            one = Refused(day, principal.tenant, "", "", "", reason)
        self._counts[one] = self._counts.get(one, 0) + 1

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Bring what is counted to the database; what cannot be brought now is kept."""
        counts, self._counts = self._counts, {}
        if not counts:
            return
        try:
            await asyncio.to_thread(self._add, counts)
        except SQLAlchemyError as error:
            log.warning("refusals cannot be counted in the database now, and will be: %s", error)
            for one, count in counts.items():
                self._counts[one] = self._counts.get(one, 0) + count
