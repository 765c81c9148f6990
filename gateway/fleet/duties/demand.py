"""Counting what is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.fleet.duties.rounds import Round
from gateway.fleet.placement import Placement


@dataclass(frozen=True, slots=True)
class CountDemand:
    """How many homes each adapter has follows from it."""

    placement: Placement
    publish: Callable[[], int]
    """Tell workers what changed; the revision of the view that has it."""
    name: str = "demand"

    def is_due(self, this: Round) -> bool:
        """Always."""
        return True

    async def do(self, this: Round) -> None:
        """Take in what was asked for since the last round, and tell workers what follows."""
        self.placement.observe_demand()
        self.publish()
