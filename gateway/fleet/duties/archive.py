"""Archiving attempts that are old, once a day, where the setting is on: a command in a process of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from asyncio.subprocess import PIPE

from gateway.fleet.duties.beside import Beside
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.days import day_number
from registry.db import now_ms
from registry.service import Registry

log = logging.getLogger("switchyard.archive")
LOOK_S = 600.0
"""Between two tries of a day, until one succeeds."""
WITHIN_S = 6 * 3600.0
"""A process that takes longer is ended; the next one goes on from there."""
NICENESS = 10
COMMAND = ("nice", f"-n{NICENESS}", sys.executable, "-m", "switchyard", "ledger", "archive")


class ArchivingFailed(Exception):
    """The process ended with this; nothing was lost by it, and it is tried again."""


class ArchiveUsage:
    """Beside the rounds. DuckDB and the rows are in the child alone."""

    name = "archive"

    def __init__(self, registry: Registry, errands: Errands) -> None:
        self._registry = registry
        self._beside = Beside(errands, LOOK_S)
        self._done_day: int | None = None

    def is_due(self, this: Round) -> bool:
        """When the round reconciles, and this process has not done it today."""
        days = self._registry.settings.archive_usage_after_days
        return this.reconciles and days is not None and self._done_day != day_number(now_ms())

    async def do(self, this: Round) -> None:
        """Begin, unless the last time is still under way. Raises what that has ended with."""
        self._beside.begin(self.archive)

    async def archive(self) -> None:
        """Once. Raises `ArchivingFailed`."""
        today = day_number(now_ms())
        child = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=PIPE, env=self._environment()
        )
        try:
            async with asyncio.timeout(WITHIN_S):
                out, err = await child.communicate()
        finally:
            if child.returncode is None:
                child.kill()  # it can be ended anywhere
        if child.returncode:
            said = err.decode(errors="replace").strip().splitlines()[-1:] or [f"status {child.returncode}"]
            raise ArchivingFailed(said[0])
        log.info("%s", out.decode().strip())
        self._done_day = today

    def _environment(self) -> dict[str, str]:
        """What this process was told of the registry, however it was told."""
        settings = self._registry.settings
        own = {
            "SWITCHYARD_STATE_DIR": str(settings.state_dir.absolute()),
            "SWITCHYARD_DATABASE_URL": settings.resolved_database_url,
            "SWITCHYARD_BLOB_URL": self._registry.blobs.url,
            "SWITCHYARD_ARCHIVE_USAGE_AFTER_DAYS": str(settings.archive_usage_after_days),
        }
        return {**os.environ, **own}
