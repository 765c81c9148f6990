"""Looks now and then how a worker's split traffic is spread over units, says where it is not, and counts workers."""

from __future__ import annotations

import asyncio
import logging

from sqlalchemy.exc import SQLAlchemyError

from gateway.splits.units import Units
from registry.fleet.workers import Workers
from registry.splits.skew import SplitSkew
from registry.splits.skews import SplitSkews

log = logging.getLogger("switchyard.splits")
LOOK_S = 5.0


class SkewWatch:
    """Notes alarming splits in the database, and again when the figure changes by a point or is not alarming now."""

    def __init__(self, units: Units, books: SplitSkews, workers: Workers, worker: str) -> None:
        self._units = units
        self._books = books
        self._workers = workers
        self._worker = worker
        self._noted: dict[int, SplitSkew] = {}

    async def run(self) -> None:
        """Look every few seconds, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except SQLAlchemyError as error:
                log.warning("units of splits cannot be noted now, and will be: %s", error)

    async def look(self) -> None:
        """One look. Raises `SQLAlchemyError`; the next look notes then what this one could not."""
        self._units.shared_by(max(1, len(await asyncio.to_thread(self._workers.live))))
        news = [skew for skew in self._units.skews() if self._is_news(skew)]
        if not news:
            return
        await asyncio.to_thread(self._books.note, self._worker, news)
        for skew in news:
            if skew.alarming and skew.split_id not in self._noted:
                log.warning("%s", skew)
            self._noted[skew.split_id] = skew

    def _is_news(self, skew: SplitSkew) -> bool:
        noted = self._noted.get(skew.split_id)
        if noted is None:
            return skew.alarming
        return skew.alarming != noted.alarming or abs(skew.share - noted.share) >= 0.01
