"""Archiving attempts that are old, once a day, where the setting is on: a command in a process of its own."""

from __future__ import annotations

import logging

from gateway.fleet.duties.aside import run_aside
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
        """Once. Raises `AsideFailed`."""
        today = day_number(now_ms())
        log.info("%s", await run_aside(self._registry, "switchyard", "ledger", "archive", within_s=WITHIN_S))
        self._done_day = today
