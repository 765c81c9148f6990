"""Reading what people and workers have left in the registry."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from gateway.fleet.duties.rounds import Round
from gateway.fleet.engine_set import EngineSet
from gateway.fleet.hub import Hub
from registry.service import Registry

log = logging.getLogger("switchyard.fleet")


@dataclass(frozen=True, slots=True)
class ReadOrders:
    """Which workers live, which engines there are, and which are drained; without the database nothing is unloaded, and
    the engines are those that they were.
    """

    registry: Registry
    hub: Hub
    engines: EngineSet
    name: str = "orders"

    def is_due(self, this: Round) -> bool:
        """Always: everything else in the round goes by it."""
        return True

    async def do(self, this: Round) -> None:
        """Read them."""
        try:
            live = await asyncio.to_thread(self.registry.workers.live)
            drains = await asyncio.to_thread(self.registry.drains.all)
            declared = await asyncio.to_thread(self.engines.read)
        except (SQLAlchemyError, OSError) as error:
            self.hub.expected = None
            log.warning("the database is away, so nothing is unloaded: %s", error)
            return
        except Exception:
            self.hub.expected = None
            raise
        self.hub.expected = frozenset(worker.id for worker in live)
        self.engines.adopt(declared)
        for engine in self.engines:
            engine.health.drained = engine.leaving or engine.url in drains
