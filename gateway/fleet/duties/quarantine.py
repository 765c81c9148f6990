"""Trying again what is in quarantine."""

from __future__ import annotations

import asyncio

from gateway.fleet.court import Court
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands


class RetryQuarantined:
    """Versions that every engine refused may be proven by another one, or by one that was mended."""

    name = "quarantine"

    def __init__(self, court: Court, errands: Errands) -> None:
        self._court = court
        self._errands = errands
        self._running: asyncio.Task[None] | None = None

    def is_due(self, this: Round) -> bool:
        """When the round reconciles."""
        return this.reconciles

    async def do(self, this: Round) -> None:
        """Begin, unless the last one is still under way: proofs take long, and nobody's round waits for them."""
        if self._running is None or self._running.done():
            self._running = self._errands.run(self._court.retry_quarantined())
