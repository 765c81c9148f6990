"""Looking at every engine."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.fleet.duties.rounds import Round
from gateway.fleet.engine_checks import EngineChecks


@dataclass(frozen=True, slots=True)
class CheckEngines:
    """Which of them serve, and what lies on them."""

    checks: EngineChecks
    name: str = "engines"

    def is_due(self, this: Round) -> bool:
        """Always."""
        return True

    async def do(self, this: Round) -> None:
        """Begin a check of each, and wait for them for a while."""
        await self.checks.check_all(reconcile=this.reconciles)
