"""A worker's end: it tells the leader what it has counted, and asks it what all workers of the gateway have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.fleet.channel import LinkBroken
from gateway.fleet.link import ControllerLink
from gateway.fleet.wire import Inspected
from gateway.metrics.counts import AskSamples, AskTraffic, By, Counted
from gateway.metrics.levels import Levels
from gateway.metrics.sums import Samples
from gateway.metrics.worker import Metrics

TELL_EVERY_S = 2.0
ANSWER_WITHIN_S = 5.0


class Telling:
    """Of one worker. What cannot be told now is kept, and told to the next leader."""

    def __init__(self, gateway: str, metrics: Metrics, levels: Levels, link: ControllerLink) -> None:
        """`gateway` is host:port, which the workers of one gateway share."""
        self.gateway = gateway
        self.levels = levels
        self._metrics = metrics
        self._link = link

    async def run(self) -> None:
        """Tell every two seconds, for ever."""
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            self.tell()

    def tell(self) -> None:
        """What is new, if anybody leads."""
        if self._link.linked:
            levels = self.levels.now()
            self._link.send(Counted(self.gateway, *self._metrics.take(), levels))

    async def samples(self) -> Samples | None:
        """What Prometheus should know of the gateway and the fleet; `None` when nobody leads."""
        return await self._ask(lambda number: AskSamples(number, self.gateway))

    async def traffic(self, window_s: int, step_s: int, by: By, only: str | None) -> dict[str, Any] | None:
        """A document of `gateway.metrics.series`; `None` when nobody leads."""
        return await self._ask(lambda number: AskTraffic(number, self.gateway, window_s, step_s, by, only))

    async def _ask(self, question: Callable[[int], AskSamples | AskTraffic]) -> dict[str, Any] | None:
        """With all that this worker has counted until now."""
        self.tell()
        try:
            told: Inspected = await self._link.ask(question, ANSWER_WITHIN_S)
        except LinkBroken:
            return None
        return told.document
