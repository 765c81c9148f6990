"""Carrying out swaps."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from gateway.fleet.duties.rounds import Round
from gateway.fleet.swap import SwapRunner

log = logging.getLogger("switchyard.fleet")


@dataclass(frozen=True, slots=True)
class CarryOutSwaps:
    """Promotes, rollbacks and ramps, in tasks of their own."""

    swaps: SwapRunner
    name: str = "swaps"

    def is_due(self, this: Round) -> bool:
        """Always."""
        return True

    async def do(self, this: Round) -> None:
        """Begin those that wait."""
        try:
            await self.swaps.start_pending()
        except SQLAlchemyError as error:
            log.warning("swaps wait for the database: %s", error)
