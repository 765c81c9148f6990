"""Looking after what is stored of tenants' responses and of what came of them: what is too old, and what was made by
who is gone.
"""

from __future__ import annotations

import asyncio
import time

from gateway.fleet.duties.beside import Beside
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.service import Registry

EXPIRE_S = 60.0
"""Between two looks for what is too old."""
MOST_BATCHES = 50
"""Of what is too old that is deleted at once."""


class LookAfterResponses:
    """Beside the rounds, which wait for no database that is busy."""

    name = "responses"

    def __init__(self, registry: Registry, default_days: int, outcome_days: int, errands: Errands) -> None:
        """`default_days`: how long responses are kept of tenants that have no setting of their own; `outcome_days`: how
        long outcomes are.
        """
        self._registry = registry
        self._default_days = default_days
        self._outcome_days = outcome_days
        self._beside = Beside(errands)
        self._missing: set[str] = set()
        self._expired_s = float("-inf")

    def is_due(self, this: Round) -> bool:
        """When the round reconciles."""
        return this.reconciles

    async def do(self, this: Round) -> None:
        """Begin, unless the last time is still under way. Raises what that has ended with."""
        self._beside.begin(self.look)

    async def look(self) -> None:
        """Give up what ran on workers that were gone at the last look and still are; then delete what is too old."""
        registry = self._registry
        live = {worker.id for worker in await asyncio.to_thread(registry.workers.live)}
        missing = await asyncio.to_thread(registry.responses.runners) - live
        gone, self._missing = missing & self._missing, missing  # one that has just begun has not reported yet
        if gone:
            await asyncio.to_thread(registry.responses.give_up, gone)
        if time.monotonic() - self._expired_s >= EXPIRE_S:
            await asyncio.to_thread(registry.retention.expire, self._default_days, most_batches=MOST_BATCHES)
            await asyncio.to_thread(registry.outcome_retention.expire, self._outcome_days, most_batches=MOST_BATCHES)
            self._expired_s = time.monotonic()
