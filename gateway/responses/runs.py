"""What this process makes in the background: which tasks those are, and whether somebody wants them to end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from gateway.handoffs import CLIENT_GONE

log = logging.getLogger("switchyard.responses")
LOOK_S = 0.5
"""How often the database is asked whether somebody has cancelled one; only while there are any."""
Run = tuple[str, str]
"""Tenant and id of the response."""


class Runs:
    """Of one process. Not for threads."""

    def __init__(self, worker: str, going_on: Callable[[str], set[Run]]) -> None:
        """`going_on` asks the database, and blocks, what of a worker's is to go on."""
        self.worker = worker
        self._going_on = going_on
        self._tasks: dict[Run, asyncio.Task[None]] = {}
        self._unwanted: set[Run] = set()
        self._some = asyncio.Event()

    @contextmanager
    def watched(self, run: Run) -> Iterator[None]:
        """The task that runs now makes this response, which is stored as running, until the end of the block: it is
        cancelled, as by its client, when somebody cancels or deletes that.
        """
        task = asyncio.current_task()
        assert task is not None
        self._tasks[run] = task
        self._some.set()
        try:
            yield
        finally:
            self.let_be(run)
            self._unwanted.discard(run)

    def let_be(self, run: Run) -> None:
        """Watch it no more: it is about to be stored as ended."""
        self._tasks.pop(run, None)

    def is_unwanted(self, run: Run) -> bool:
        """Whether that is why its task is cancelled."""
        return run in self._unwanted

    async def run(self) -> None:
        """Look again and again whether some are to end; until cancelled."""
        while True:
            await self._some.wait()
            await asyncio.sleep(LOOK_S)
            if not self._tasks:
                self._some.clear()
                continue
            try:
                await self.look()
            except SQLAlchemyError as error:
                log.warning("whether background responses were cancelled is not known now: %s", error)

    async def look(self) -> None:
        """End those that were cancelled or deleted. Raises `SQLAlchemyError`."""
        running = dict(self._tasks)
        going_on = await asyncio.to_thread(self._going_on, self.worker)
        for run, task in running.items():
            if run not in going_on and self._tasks.get(run) is task:
                self.let_be(run)
                self._unwanted.add(run)
                task.cancel(CLIENT_GONE)
