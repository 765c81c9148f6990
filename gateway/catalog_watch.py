"""Keeps the newest catalog in one attribute, and tells the registry which revision this worker has in force."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from registry.catalog.snapshot import Catalog
from registry.service import Registry

log = logging.getLogger("switchyard.catalog")
T = TypeVar("T")
REPORTS_A_LEASE = 5
"""A worker renews its lease so often while it lasts."""
TICK_S = 0.25
HANGS_AFTER_S = 2.0
"""A database that has not answered for so long is away, as one that answers with an error; well below a lease."""
PAUSED_AFTER_S = 1.0
"""A tick that took so long says that it was us who stood still."""


class CatalogWatch:
    """`current` is replaced whole; a request reads it once and keeps what it read.

    `worker_id` is `None` in a process that serves no requests, and so has nothing to acknowledge.
    """

    def __init__(self, registry: Registry, worker_id: str | None, url: str, poll_s: float) -> None:
        self._registry = registry
        self._worker_id = worker_id
        self._url = url
        self._poll_s = poll_s
        self._lease_s = registry.workers.lease_s
        self._look = asyncio.Event()
        self._confirmed_s = time.monotonic()
        """What we serve was in force then: the newest read that succeeded began, or the database was away, from us as
        from everybody, and nothing could move."""
        self._renewed_s = math.inf if worker_id is None else time.monotonic()
        """The registry's lease of this worker began then or later, or nobody could write and so nothing could move.
        Reading is no substitute: the fleet goes by the lease, which may be older than our newest look."""
        self._report: asyncio.Task[None] | None = None
        self._reported_s = float("-inf")
        self._reported_revision = -1
        self._owed_revision = 0
        self._owed_since_s: float | None = None
        self.current: Catalog = registry.catalog()

    @property
    def lapsed(self) -> bool:
        """Whether the fleet may have cut over to a newer catalog without waiting for this worker any longer.

        So after a pause of the process, until it has read again; and when the controller knows of a revision that
        we could not read for as long as a lease. While the database is away from everybody, nothing can have moved.
        """
        now = time.monotonic()
        if self._owed_since_s is not None and now - self._owed_since_s > self._lease_s:
            return True
        return now - min(self._confirmed_s, self._renewed_s) > self._lease_s

    def look_now(self, revision: int) -> None:
        """The controller knows of a catalog of this revision."""
        if revision > self.current.revision:
            self._owed_revision = max(self._owed_revision, revision)
            self._owed_since_s = self._owed_since_s or time.monotonic()
            self._look.set()

    async def run(self, on_change: Callable[[], None]) -> None:
        """Poll for ever; a database that is away leaves the catalog as it was."""
        try:
            await self._keep_polling(on_change)
        finally:
            if self._report is not None:
                await asyncio.gather(self._report, return_exceptions=True)

    async def _keep_polling(self, on_change: Callable[[], None]) -> None:
        while True:
            try:
                await self._poll(on_change)
            except SQLAlchemyError as error:
                log.warning("catalog revision %d stays in force: %s", self.current.revision, error)
            except Exception:  # we lapse, and stop serving, unless a later look succeeds
                log.exception("catalog revision %d stays in force", self.current.revision)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._look.wait()
            self._look.clear()

    async def _poll(self, on_change: Callable[[], None]) -> None:
        asked_s, newest = await self._read_patiently()
        self._confirmed_s = max(self._confirmed_s, asked_s)
        changed = newest.revision != self.current.revision
        if changed:
            self.current = newest
            on_change()
        if newest.revision >= self._owed_revision:
            self._owed_since_s = None
        due = time.monotonic() - self._reported_s >= self._lease_s / REPORTS_A_LEASE
        news = self.current.revision != self._reported_revision
        if self._worker_id is not None and self._report is None and (due or news):
            self._report = asyncio.create_task(self._acknowledge(self._worker_id, self.current.revision))

    async def _read_patiently(self) -> tuple[float, Catalog]:
        """When the read began, and the newest catalog. While the database hangs and we do not, it is away."""
        return await _patiently(asyncio.to_thread(self._read), self._note_away)

    def _read(self) -> tuple[float, Catalog]:
        asked_s = time.monotonic()
        try:
            return asked_s, self._registry.catalog()
        except SQLAlchemyError:
            self._note_away(time.monotonic())  # here in the thread: a pause may come before the loop hears of it
            raise

    def _note_away(self, at_s: float) -> None:
        """Nothing can move then; whoever was out of touch before does not know what has moved already."""
        if at_s - self._confirmed_s <= self._lease_s:
            self._confirmed_s = at_s
        self._note_locked(at_s)

    async def _acknowledge(self, worker_id: str, revision: int) -> None:
        """Acknowledge a revision, and so renew the lease. A database that cannot be written to holds up no reading."""
        self._reported_s = time.monotonic()
        try:
            await _patiently(asyncio.to_thread(self._renew, worker_id, revision), self._note_locked)
            self._reported_revision = revision
        except SQLAlchemyError as error:
            log.warning("revision %d could not be acknowledged: %s", revision, error)
        finally:
            self._report = None
            if self.current.revision != revision:
                self._look.set()

    def _renew(self, worker_id: str, revision: int) -> None:
        began_s = time.monotonic()
        try:
            self._registry.workers.report(worker_id, self._url, revision)
            self._renewed_s = max(self._renewed_s, began_s)
        except SQLAlchemyError:
            self._note_locked(time.monotonic())
            raise

    def _note_locked(self, at_s: float) -> None:
        """Nobody can write, so nothing can move, and no lease be renewed."""
        if at_s - self._renewed_s <= self._lease_s:
            self._renewed_s = at_s


async def _patiently(work: Coroutine[Any, Any, T], note: Callable[[float], None]) -> T:
    """What the work of a thread returns. While it hangs and this process does not, `note` is told the time."""
    task = asyncio.create_task(work)
    try:
        before_s, awake_s = time.monotonic(), 0.0
        while not (await asyncio.wait((task,), timeout=TICK_S))[0]:
            now_s = time.monotonic()
            awake_s = 0.0 if now_s - before_s > PAUSED_AFTER_S else awake_s + now_s - before_s
            if awake_s > HANGS_AFTER_S:
                note(now_s)
            before_s = now_s
        return task.result()
    finally:
        task.cancel()
