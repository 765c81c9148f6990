"""Reading for metrics what only the database knows: budgets, experiments, usage, retirements."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.fleet.duties.beside import Beside
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from gateway.metrics.facts import facts, gaps
from gateway.metrics.leader import Traffic
from registry.catalog.snapshot import Catalog
from registry.db import now_ms
from registry.service import Registry

READ_S = 60.0
GAPS_S = 600.0
"""Balances read an hour of attempts, which is more than the rest."""


class ReadFacts:
    """Beside the rounds, which wait for no database that is busy."""

    name = "facts"

    def __init__(self, registry: Registry, catalog: Callable[[], Catalog], traffic: Traffic, errands: Errands) -> None:
        self._registry = registry
        self._catalog = catalog
        self._traffic = traffic
        self._facts, self._gaps = Beside(errands, READ_S), Beside(errands, GAPS_S)

    def is_due(self, this: Round) -> bool:
        """When the round reconciles."""
        return this.reconciles

    async def do(self, this: Round) -> None:
        """Begin, unless the last time is still under way. Raises what that has ended with."""
        self._facts.begin(self.read)
        self._gaps.begin(self.read_gaps)

    async def read(self) -> None:
        """Once."""
        found = await asyncio.to_thread(facts, self._registry, self._catalog(), self._traffic.naming.tenants, now_ms())
        self._traffic.fleet.learn(found)

    async def read_gaps(self) -> None:
        """Once, of the last hour."""
        self._traffic.fleet.learn(await asyncio.to_thread(gaps, self._registry, now_ms()))
