"""A candidate for the fleet's lead as a gateway has it, with no gateway around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.catalog_watch import CatalogWatch
from gateway.engines.engine import Engine
from gateway.fleet.leadership import Candidate, candidate_of
from gateway.fleet.sources import document_of
from gateway.identity import Identity
from tests.support.stack import House


def candidate_at(house: House, listen: str) -> Candidate:
    """One that does not stand yet."""
    settings = house.settings.model_copy(update={"controller_listen": listen})
    watch = CatalogWatch(house.registry, None, "", 1.0)
    return candidate_of(house.registry, settings, watch, Identity.of_this_process())


@asynccontextmanager
async def standing(house: House, listen: str) -> AsyncIterator[Candidate]:
    """It stands for election inside the block."""
    candidate = candidate_at(house, listen)
    running = asyncio.create_task(candidate.run())
    try:
        yield candidate
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def add_engine(house: House, url: str, base: str = "tiny") -> None:
    """As an operator does, without a gateway's help."""
    engine = Engine(url, house.registry.bases.get(base).digest, "cpu", 16, source="admin")
    house.registry.added_engines.add(url, document_of(engine), actor="test")
