"""Letting engines go that are to leave the fleet."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.fleet.departures import Departures
from gateway.fleet.duties.rounds import Round


@dataclass(frozen=True, slots=True)
class LetEnginesGo:
    """`gateway.fleet.departures`, in every round."""

    departures: Departures
    name: str = "departures"

    def is_due(self, this: Round) -> bool:
        """Always."""
        return True

    async def do(self, this: Round) -> None:
        """Forget those that nobody uses any more."""
        await self.departures.let_go()
