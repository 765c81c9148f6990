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
from gateway.fleet.sampling import Sampling

log = logging.getLogger("switchyard.fleet")


class DepartureContext(Protocol):
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

    @property
    def sampling(self) -> Sampling:
        """What they count while they work."""

    def publish(self) -> int:
        """Tell workers what changed; the revision of the view that has it."""


class Departures:
    """Of one controller's term. Invariant: an engine is forgotten when every live worker has confirmed a view in which
    it takes no traffic, and counts no request on it.
    """

    def __init__(self, controller: DepartureContext) -> None:
        self._controller = controller
        self._out_since: dict[str, int] = {}
        """Engine URL → revision of the view in which it was out of traffic first."""

    async def let_go(self) -> None:
        """Forget every engine that is to leave and that nobody uses any more. While the database is away none goes."""
        controller = self._controller
        leaving = [
            one for one in controller.engines.leaving() if one.health.state != "new"
        ]  # else nothing is published
        self._out_since = {one.url: self._out_since.get(one.url) or controller.publish() for one in leaving}
        for engine in leaving:
            if controller.hub.confirmed_by_all(self._out_since[engine.url]) and not controller.hub.running_on(
                engine.url
            ):
                try:
                    await asyncio.to_thread(controller.engines.let_go, engine)
                except (SQLAlchemyError, OSError) as error:
                    log.warning("engine %s is empty, and leaves when the database is back: %s", engine.url, error)
                else:
                    await self._forget(engine)

    async def _forget(self, engine: ManagedEngine) -> None:
        controller = self._controller
        controller.engines.remove(engine)
        engine.health.down("it has left the fleet")  # no check of it begins any more: who waits for one must not
        controller.publish()
        controller.loading.give_up(engine)
        try:
            await controller.checks.stop(engine)
            await controller.books.part_with(engine)
            controller.sampling.forget(engine)
        finally:  # the term may end meanwhile, and closes only what is in the set
            await engine.close()
