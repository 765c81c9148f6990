"""A worker's end: it tells the leader what it has counted, and asks it what all workers of the gateway have."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.fleet.link import ControllerLink
from gateway.fleet.wire import Inspected, LinkBroken
from gateway.metrics.counts import AskTraffic, By, Counted
from gateway.metrics.worker import Metrics

TELL_EVERY_S = 2.0
ANSWER_WITHIN_S = 5.0


class Telling:
    """Of one worker. What cannot be told now is kept, and told to the next leader."""

    def __init__(self, gateway: str, metrics: Metrics, link: ControllerLink) -> None:
        """`gateway` is host:port, which the workers of one gateway share."""
        self.gateway = gateway
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
            self._link.send(Counted(self.gateway, self._metrics.rows.take(), self._metrics.in_flight))

    async def traffic(self, window_s: int, step_s: int, by: By, only: str | None) -> dict[str, Any] | None:
        """A document of `gateway.metrics.series` with all that this worker has counted; `None` when nobody leads."""
        self.tell()
        try:
            told: Inspected = await self._link.ask(
                lambda number: AskTraffic(number, self.gateway, window_s, step_s, by, only), ANSWER_WITHIN_S
            )
        except LinkBroken:
            return None
        return told.document
