"""Letting engines go that are to leave the fleet: first out of traffic, then, when nobody uses them, forgotten."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from gateway.engines.managed import ManagedEngine
from gateway.fleet.books import Books
from gateway.fleet.engine_checks import EngineChecks
from gateway.fleet.engine_set import EngineSet
from gateway.fleet.hub import Hub
from gateway.fleet.loading import Loading

log = logging.getLogger("switchyard.fleet")


class Office(Protocol):
    """What departures need of the controller around them."""

    @property
    def engines(self) -> EngineSet:
        """The fleet's engines."""

    @property
    def hub(self) -> Hub:
        """The links to workers."""

    @property
    def checks(self) -> EngineChecks:
        """Looks at engines."""

    @property
    def loading(self) -> Loading:
        """Loads on engines."""

    @property
    def books(self) -> Books:
        """What engines count."""

    def publish(self) -> int:
        """Tell workers what changed; the revision of the view that has it."""


class Departures:
    """Of one controller's term. Invariant: an engine is forgotten when every live worker has confirmed a view in which
    it takes no traffic, and counts no request on it.
    """

    def __init__(self, office: Office) -> None:
        self._office = office
        self._out_since: dict[str, int] = {}
        """Engine URL → revision of the view in which it was out of traffic first."""

    async def let_go(self) -> None:
        """Forget every engine that is to leave and that nobody uses any more. While the database is away none goes."""
        office = self._office
        leaving = [one for one in office.engines.leaving() if one.health.state != "new"]  # else nothing is published
        self._out_since = {one.url: self._out_since.get(one.url) or office.publish() for one in leaving}
        for engine in leaving:
            if office.hub.heard_since(self._out_since[engine.url]) and not office.hub.running_on(engine.url):
                try:
                    await asyncio.to_thread(office.engines.let_go, engine)
                except (SQLAlchemyError, OSError) as error:
                    log.warning("engine %s is empty, and leaves when the database is back: %s", engine.url, error)
                else:
                    await self._forget(engine)

    async def _forget(self, engine: ManagedEngine) -> None:
        office = self._office
        office.engines.remove(engine)
        engine.health.down("it has left the fleet")  # no check of it begins any more: who waits for one must not
        office.publish()
        office.loading.give_up(engine)
        try:
            await office.checks.stop(engine)
            await office.books.part_with(engine)
            office.hub.forget(engine.url)
        finally:  # the term may end meanwhile, and closes only what is in the set
            await engine.close()
