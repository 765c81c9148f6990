"""Removing what deleted tenants have left: rows and stored bytes anywhere, and folders of versions on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from gateway.engines.managed import ManagedEngine
from gateway.fleet.duties.beside import Beside
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.service import Registry

LOOK_S = 60.0
"""Between two looks for what requests that were in flight have left."""
PAUSE_S = 0.02
"""After each step, so that others can write."""


class FinishDeletions:
    """Beside the rounds, which wait for no database and no storage that is busy. It goes on where others were killed,
    and looks again for a day.
    """

    name = "deletions"

    def __init__(self, registry: Registry, engines: Iterable[ManagedEngine], errands: Errands) -> None:
        self._registry = registry
        self._engines = engines
        self._beside = Beside(errands, LOOK_S)

    def is_due(self, this: Round) -> bool:
        """When the round reconciles."""
        return this.reconciles

    async def do(self, this: Round) -> None:
        """Begin, unless the last time is still under way. Raises what that has ended with."""
        self._beside.begin(self.look)

    async def look(self) -> None:
        """Once: the oldest deletion first."""
        deletions = self._registry.deletions
        for tenant in await asyncio.to_thread(deletions.unfinished):
            steps = deletions.empty(tenant)
            while await asyncio.to_thread(next, steps, None) is not None:
                await asyncio.sleep(PAUSE_S)
        if (resident := self._resident()) is not None:
            await asyncio.to_thread(deletions.remove_folders, resident)

    def _resident(self) -> set[int] | None:
        """Versions that engines may read again from their folders; `None` while that is not known."""
        found: set[int] = set()
        for engine in self._engines:
            held = engine.residency
            if held.boot is None or held.leaving:
                return None
            found |= {*held.resident, *held.adoptable, *held.proving}
        return found
