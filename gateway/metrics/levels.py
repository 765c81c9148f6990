"""What a worker finds of itself each time that it tells the leader: sizes, states, and the processor's time."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Mapping

from gateway.catalog_watch import CatalogWatch
from gateway.fleet.adapter_slots import AdapterSlots
from gateway.fleet.line import Lines
from gateway.journal.journal import Journal
from gateway.metrics import families
from gateway.metrics.counts import Level
from gateway.metrics.families import Family
from gateway.metrics.worker import Metrics
from gateway.splits.units import Units
from telemetry.outbox import Outbox

PAGE_BYTES = resource.getpagesize()
OWN = "/proc/self"


class Levels:
    """Of one worker."""

    def __init__(
        self,
        metrics: Metrics,
        catalog: CatalogWatch,
        journal: Journal,
        units: Units,
        lines: Lines,
        slots: AdapterSlots,
        outbox: Outbox | None = None,
    ) -> None:
        """`outbox` has spans, where there is tracing."""
        self.works: Callable[[], Mapping[str, str | None]] = dict
        """What goes on in the background, by name, and what ended it last."""
        self._metrics = metrics
        self._catalog = catalog
        self._journal = journal
        self._units = units
        self._lines = lines
        self._slots = slots
        self._outbox = outbox
        self._told: dict[tuple[Family, tuple[str, ...]], float] = {}
        """What the process had counted when it was told of last."""

    def now(self) -> tuple[Level, ...]:
        """All of it. What is new of what the process itself counts is counted as traffic is."""
        self._add(families.CPU, (), time.process_time())
        if self._outbox is not None:
            for became in ("told", "dropped", "refused"):
                self._add(families.SPANS, (became,), getattr(self._outbox, became))
        return (
            (families.IN_FLIGHT.name, (), self._metrics.in_flight),
            (families.LINE.name, (), self._lines.waiting()),
            (families.LINE_OLDEST.name, (), self._lines.oldest_s()),
            (families.SLOTLESS.name, (), self._slots.waiting),
            (families.UNSHIPPED.name, (), self._journal.unshipped_bytes),
            (families.REVISION.name, (), self._catalog.current.revision),
            (families.LAPSED.name, (), int(self._catalog.lapsed)),
            (families.UNIT_SHARE.name, (), max((skew.share for skew in self._units.skews()), default=0.0)),
            (families.RSS.name, (), _resident_bytes()),
            (families.OPEN_FILES.name, (), _open_files()),
            *((families.BACKGROUND_UP.name, (name,), int(fault is None)) for name, fault in self.works().items()),
        )

    def _add(self, family: Family, labels: tuple[str, ...], total: float) -> None:
        self._metrics.add(family, labels, total - self._told.get((family, labels), 0))
        self._told[family, labels] = total


def _resident_bytes() -> int:
    """0 where the system does not tell so."""
    try:
        with open(f"{OWN}/statm") as file:
            return int(file.read().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


def _open_files() -> int:
    try:
        return len(os.listdir(f"{OWN}/fd"))
    except OSError:
        return 0
