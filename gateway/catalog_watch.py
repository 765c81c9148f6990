"""Keeps the newest catalog in one attribute, and tells the registry which revision this worker has in force."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from registry.catalog import Catalog
from registry.service import Registry

log = logging.getLogger("switchyard.catalog")
REPORT_INTERVAL_S = 1.0


class CatalogWatch:
    """`current` is replaced whole; a request reads it once and keeps what it read."""

    def __init__(self, registry: Registry, worker_id: str, url: str, poll_s: float) -> None:
        self._registry = registry
        self._worker_id = worker_id
        self._url = url
        self._poll_s = poll_s
        self._reported_at = 0.0
        self.current: Catalog = registry.catalog()

    async def run(self, on_change: Callable[[], None]) -> None:
        """Poll for ever; a database that is away leaves the catalog as it was."""
        while True:
            try:
                await self._poll(on_change)
            except SQLAlchemyError as error:
                log.warning("catalog revision %d stays in force: %s", self.current.revision, error)
            await asyncio.sleep(self._poll_s)

    async def _poll(self, on_change: Callable[[], None]) -> None:
        newest = await asyncio.to_thread(self._registry.catalog)
        changed = newest.revision != self.current.revision
        if changed:
            self.current = newest
            on_change()
        if changed or time.monotonic() - self._reported_at >= REPORT_INTERVAL_S:
            self._reported_at = time.monotonic()
            await asyncio.to_thread(self._registry.workers.report, self._worker_id, self._url, self.current.revision)
