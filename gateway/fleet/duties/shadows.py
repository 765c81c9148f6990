"""Ending shadows whose time is over or whose tenant does not consent any more, and forgetting pairs."""

from __future__ import annotations

import asyncio
import logging
import time

from gateway.fleet.duties.beside import Beside
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.service import Registry
from registry.shadows.following import follow_experiments

log = logging.getLogger("switchyard.shadow")
EXPIRE_S = 60.0
"""Between two looks for what is too old."""
MOST_BATCHES = 50
"""Of what is too old that is deleted at once."""


class LookAfterShadows:
    """Beside the rounds, which wait for no database that is busy."""

    name = "shadows"

    def __init__(self, registry: Registry, default_days: int, errands: Errands) -> None:
        """`default_days`: how long texts are kept of tenants that have no setting of their own."""
        self._registry = registry
        self._default_days = default_days
        self._beside = Beside(errands)
        self._expired_s = float("-inf")
        self._refused: dict[int, str] = {}
        """Experiments whose shadow could not begin, and why."""

    def is_due(self, this: Round) -> bool:
        """When the round reconciles."""
        return this.reconciles

    async def do(self, this: Round) -> None:
        """Begin, unless the last time is still under way. Raises what that has ended with."""
        self._beside.begin(self.look)

    async def look(self) -> None:
        """End what is due, begin what experiments want, then forget what is too old."""
        await asyncio.to_thread(self._registry.shadows.end_due)
        refused = await asyncio.to_thread(follow_experiments, self._registry.db)
        for experiment_id in refused.keys() - self._refused.keys():
            log.warning("experiment %d gets no copies of requests: %s", experiment_id, refused[experiment_id])
        self._refused = refused
        if time.monotonic() - self._expired_s >= EXPIRE_S:
            await asyncio.to_thread(self._registry.pairs.expire, self._default_days, most_batches=MOST_BATCHES)
            self._expired_s = time.monotonic()
