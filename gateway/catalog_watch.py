"""Keeps the newest catalog in one attribute, and tells the registry which revision this worker has in force."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from registry.catalog import Catalog
from registry.service import Registry
from registry.workers import LEASE_MS

log = logging.getLogger("switchyard.catalog")
REPORT_INTERVAL_S = 1.0


class CatalogWatch:
    """`current` is replaced whole; a request reads it once and keeps what it read.

    `worker_id` is `None` in a process that serves no requests, and so has nothing to acknowledge.
    """

    def __init__(self, registry: Registry, worker_id: str | None, url: str, poll_s: float) -> None:
        self._registry = registry
        self._worker_id = worker_id
        self._url = url
        self._poll_s = poll_s
        self._look = asyncio.Event()
        self._confirmed_s = time.monotonic()
        self._reported = False
        self._database_away = False
        self._owed_revision = 0
        self._owed_since_s: float | None = None
        self.current: Catalog = registry.catalog()

    @property
    def lapsed(self) -> bool:
        """Whether the fleet may have cut over to a newer catalog without waiting for this worker any longer.

        So after a pause of the process, until the next report is in; and when the controller knows of a revision that
        we could not read for as long as a lease. While the database is away from everybody, nothing can have moved.
        """
        now = time.monotonic()
        if self._owed_since_s is not None and now - self._owed_since_s > LEASE_MS / 1000:
            return True
        return not self._database_away and now - self._confirmed_s > LEASE_MS / 1000

    def look_now(self, revision: int) -> None:
        """The controller knows of a catalog of this revision."""
        if revision > self.current.revision:
            self._owed_revision = max(self._owed_revision, revision)
            self._owed_since_s = self._owed_since_s or time.monotonic()
            self._look.set()

    async def run(self, on_change: Callable[[], None]) -> None:
        """Poll for ever; a database that is away leaves the catalog as it was."""
        while True:
            try:
                await self._poll(on_change)
                self._database_away = False
            except SQLAlchemyError as error:
                self._database_away = True
                log.warning("catalog revision %d stays in force: %s", self.current.revision, error)
            except Exception:  # we lapse, and stop serving, unless a later look succeeds
                log.exception("catalog revision %d stays in force", self.current.revision)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._look.wait()
            self._look.clear()

    async def _poll(self, on_change: Callable[[], None]) -> None:
        newest = await asyncio.to_thread(self._registry.catalog)
        changed = newest.revision != self.current.revision
        if changed:
            self.current = newest
            on_change()
        if newest.revision >= self._owed_revision:
            self._owed_since_s = None
        began = time.monotonic()
        if self._worker_id is None:
            self._confirmed_s = began
        elif changed or not self._reported or began - self._confirmed_s >= REPORT_INTERVAL_S:
            await asyncio.to_thread(self._registry.workers.report, self._worker_id, self._url, self.current.revision)
            self._confirmed_s, self._reported = began, True
