"""Warning tenants of models that their vendors switch off."""

from __future__ import annotations

import asyncio

from gateway.fleet.duties.beside import Beside
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.service import Registry

LOOK_S = 600.0
"""Between two looks: a day is named, and a tenant may get an address for it at any time."""


class WarnOfRetirements:
    """Beside the rounds, which wait for no database that is busy."""

    name = "retirements"

    def __init__(self, registry: Registry, errands: Errands) -> None:
        self._registry = registry
        self._beside = Beside(errands, LOOK_S)

    def is_due(self, this: Round) -> bool:
        """When the round reconciles."""
        return this.reconciles

    async def do(self, this: Round) -> None:
        """Begin, unless the last time is still under way. Raises what that has ended with."""
        self._beside.begin(self.warn)

    async def warn(self) -> None:
        """Once."""
        await asyncio.to_thread(self._registry.radar.warn, self._registry.settings.retirement_notice_days)
