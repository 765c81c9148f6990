"""Removing what nobody needs of tenants' files: what has expired, and what was left half-way."""

from __future__ import annotations

import asyncio
import time

from gateway.fleet.duties.beside import Beside
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.service import Registry

SWEEP_S, TORN_S = 60.0, 3_600.0
"""Between two looks for what can be removed, and for pieces that were never finished."""
BATCH, MOST_BATCHES = 100, 50


class SweepFiles:
    """Beside the rounds, which wait for no database and no storage that is busy."""

    name = "files"

    def __init__(self, registry: Registry, errands: Errands) -> None:
        self._registry = registry
        self._beside = Beside(errands, SWEEP_S)
        self._torn_s = float("-inf")

    def is_due(self, this: Round) -> bool:
        """When the round reconciles."""
        return this.reconciles

    async def do(self, this: Round) -> None:
        """Begin, unless the last time is still under way. Raises what that has ended with."""
        self._beside.begin(self.sweep)

    async def sweep(self) -> None:
        """Once, a batch at a time."""
        sweep = self._registry.files.sweeping
        for _ in range(MOST_BATCHES):
            if not await asyncio.to_thread(sweep.sweep, BATCH):
                break
        if time.monotonic() - self._torn_s >= TORN_S:
            self._torn_s = time.monotonic()
            await asyncio.to_thread(sweep.remove_torn)
