"""The controller's books: what its probes cost, as rows of the tenant `_system`, and what engines count themselves.

Both go to the database every few seconds, so that a killed controller loses that much of its own probes, and nothing of
tenants'. `switchyard ledger reconcile` holds one against the other.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from gateway.engines.faults import EngineFault
from gateway.engines.look import Look
from gateway.engines.managed import ManagedEngine
from gateway.engines.probes import AskedProbe
from registry.errors import RegistryError
from registry.ledger.engine_readings import Reading
from registry.names import SYSTEM
from registry.service import Registry

log = logging.getLogger("switchyard.books")
READING_INTERVAL_S = 60.0
"""Between two readings of a boot that are kept; its first and its last are kept too, idle ones are not."""
PROBES = "probes"
"""`served_model` of every probe."""


class Books:
    """One term's. `note` every look at an engine, `keep` now and then, `close` at the end."""

    def __init__(self, registry: Registry, term: int) -> None:
        self._registry = registry
        self._term = term
        self._newest: dict[str, Reading] = {}
        self._kept: dict[str, Reading] = {}
        """The newest reading of each engine that is in the database, or waits to be."""
        self._kept_s: dict[str, float] = {}
        self._readings: list[Reading] = []
        self._rows: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        """Of the term's probes, of whichever engine: one may leave the fleet and be met again, and an id that was
        booked before is not booked again."""

    def note(self, engine: ManagedEngine) -> None:
        """The engine was looked at."""
        if engine.health.look is None:
            return
        reading, before = _reading(engine.url, engine.health.look), self._newest.get(engine.url)
        if before is None or before.boot_ms != reading.boot_ms:
            if before is not None:
                self._wait(before)  # the last of a boot that is over
            self._wait(reading)
        self._newest[engine.url] = reading

    async def keep(self, engines: Sequence[ManagedEngine]) -> None:
        """Write down what is new. What the database does not take now is offered again; nothing is booked twice."""
        now = time.monotonic()
        for url, reading in self._newest.items():
            if now - self._kept_s[url] >= READING_INTERVAL_S:
                self._wait(reading)
        await self._write(engines)

    async def close(self, engines: Sequence[ManagedEngine]) -> None:
        """Look once more at engines that work, and write everything down."""
        await asyncio.gather(*(self._look_once_more(engine) for engine in engines if engine.health.serves))
        for reading in self._newest.values():
            self._wait(reading)
        await self._write(engines)

    async def part_with(self, engine: ManagedEngine) -> None:
        """An engine leaves the fleet: look once more at it if it works, and write down what it has counted."""
        if engine.health.serves:
            await self._look_once_more(engine)
        if (reading := self._newest.pop(engine.url, None)) is not None:
            self._wait(reading)
        await self._write([engine])
        self._kept.pop(engine.url, None)
        self._kept_s.pop(engine.url, None)

    async def _look_once_more(self, engine: ManagedEngine) -> None:
        with suppress(EngineFault):
            look = await engine.control.look()
            if look.boot == engine.residency.boot:
                self._newest[engine.url] = _reading(engine.url, look)

    def _wait(self, reading: Reading) -> None:
        kept = self._kept.get(reading.engine)
        self._kept_s[reading.engine] = time.monotonic()
        if kept is None or (kept.boot_ms, kept.steps) != (reading.boot_ms, reading.steps):
            self._kept[reading.engine] = reading
            self._readings.append(reading)

    async def _write(self, engines: Sequence[ManagedEngine]) -> None:
        for engine in engines:
            self._rows += [self._row(engine, probe) for probe in engine.control.probes.take()]
        rows, readings = list(self._rows), list(self._readings)
        if not rows and not readings:
            return
        try:
            await asyncio.to_thread(self._registry.ledger.record, rows)
            del self._rows[: len(rows)]
            await asyncio.to_thread(self._registry.readings.add, readings)
            del self._readings[: len(readings)]
        except (SQLAlchemyError, RegistryError) as error:
            log.warning("probes and engines' counters wait to be written down: %s", error)

    def _row(self, engine: ManagedEngine, probe: AskedProbe) -> dict[str, Any]:
        url = engine.url
        attempt_id = f"probe-{self._term}-{next(self._numbers):08d}"
        return {
            "attempt_id": attempt_id,
            "request_id": attempt_id,
            "tenant": SYSTEM,
            "key_id": "",
            "requested_model": probe.model,
            "served_model": PROBES,
            "endpoint": probe.endpoint,
            "engine": url,
            "engine_id": engine.declared.id or url,
            "outcome": "ok" if probe.counted else "engine_failed",
            "prompt_tokens": probe.prompt_tokens,
            "cached_tokens": probe.cached_tokens,
            "completion_tokens": probe.completion_tokens,
            "usage_source": "engine" if probe.counted else "estimated",
            "started_at_ms": probe.started_at_ms,
            "finished_at_ms": probe.finished_at_ms,
        }


def _reading(url: str, look: Look) -> Reading:
    return Reading(
        url,
        int(look.boot * 1_000),
        look.asked_ms,
        look.answered_ms,
        look.steps,
        look.prompt_tokens,
        look.generation_tokens,
    )
