"""Trying again what is in quarantine."""

from __future__ import annotations

from gateway.fleet.court import Court
from gateway.fleet.duties.beside import Beside
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands


class RetryQuarantined:
    """Versions that every engine refused may be proven by another one, or by one that was mended."""

    name = "quarantine"

    def __init__(self, court: Court, errands: Errands) -> None:
        self._court = court
        self._beside = Beside(errands)

    def is_due(self, this: Round) -> bool:
        """When the round reconciles."""
        return this.reconciles

    async def do(self, this: Round) -> None:
        """Begin, unless the last time is still under way: proofs take long. Raises what that has ended with."""
        self._beside.begin(self._court.retry_quarantined)
