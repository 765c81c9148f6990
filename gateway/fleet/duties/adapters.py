"""Bringing adapters to their engines, and away from them."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.fleet.duties.rounds import Round
from gateway.fleet.placement import Placement


@dataclass(frozen=True, slots=True)
class PlaceAdapters:
    """Which adapters are loaded, and which are unloaded because nobody wants them."""

    placement: Placement
    name: str = "adapters"

    def is_due(self, this: Round) -> bool:
        """When something may have changed."""
        return this.reconciles or this.woken

    async def do(self, this: Round) -> None:
        """Begin loads, and retire what nobody wants now and then."""
        self.placement.preload()
        if this.reconciles:
            self.placement.retire_unwanted()
