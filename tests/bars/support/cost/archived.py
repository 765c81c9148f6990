"""A report over 1,000,000 attempts of which 900,000 are archived, whose window begins and ends in archived days."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from registry.days import DAY_MS
from registry.ledger.engine_readings import Reading
from registry.ledger.segments import SegmentEntry
from registry.ledger.usage_record import Values, values_of
from registry.ledger.usage_report import UsageLine, report_usage
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.bars.support.cost import Part
from tests.support.usage_rows import usage_row

ATTEMPTS, DAYS, ARCHIVED_DAYS, TENANTS, RUNS, LIMIT_S = 1_000_000, 10, 9, 50, 3, 5.0
SEGMENT_ROWS, BATCH = 5_000, 2_000
BEGAN_MS = 20_000 * DAY_MS
"""An old day, on which the first attempt began."""
WINDOW = (BEGAN_MS + DAY_MS // 2, BEGAN_MS + 8 * DAY_MS + DAY_MS // 3)
"""Its edges have most of a day's attempts together."""


def measure(folder: Path, scale: float) -> Part:
    """Book, report, archive, report again: the same lines."""
    attempts = round(ATTEMPTS * scale)
    with Registry.open(RegistrySettings(state_dir=folder)) as registry:
        _book(registry, attempts)
        before, from_rows_s = _reported(registry)
        file = folder / "registry.db"
        bytes_before = file.stat().st_size
        began = time.monotonic()
        archived = list(registry.archives.archive(BEGAN_MS + ARCHIVED_DAYS * DAY_MS))
        archiving_s = time.monotonic() - began
        after, archived_s = _reported(registry)
        began = time.monotonic()
        engine = usage_row("")["engine"]
        first, last = (Reading(engine, 0, at, at, 1, 1, 1) for at in (BEGAN_MS, BEGAN_MS + DAYS * DAY_MS))
        booked = sum(one.attempts for one in registry.readings.booked(first, last))
        every_s = time.monotonic() - began
        bytes_after = file.stat().st_size
    moved = sum(one.attempts for one in archived)
    return Part(
        figures={"archived_report_s": archived_s},
        bars={
            "a report is the same when its attempts are archived": after == before,
            "nine tenths are archived, and none is missing": (moved, booked) == (attempts * 9 // 10, attempts),
        },
        speed={f"a report whose edges are archived within {LIMIT_S:g} s": archived_s <= LIMIT_S},
        detail={
            "report_from_rows_s": from_rows_s,
            "every_archived_row_read_s": round(every_s, 2),
            "archiving_s": round(archiving_s, 1),
            "archives": len(archived),
            "archive_bytes": sum(one.size_bytes for one in archived),
            "sqlite_bytes_before": bytes_before,
            "sqlite_bytes_after": bytes_after,
        },
    )


def _book(registry: Registry, attempts: int) -> None:
    rows: list[Values] = []
    for row in _rows(attempts):
        rows.append(row)
        if len(rows) == BATCH:
            registry.ledger.book(rows)
            rows = []
    registry.ledger.book(rows)
    names = {f"usage-w-{number // SEGMENT_ROWS:06d}" for number in range(attempts)}
    registry.ledger.close_segments(
        [
            SegmentEntry(name, "w", sequence, 0, 0, 0, 0, 0, 0, name, "", last=False, faults=0)
            for sequence, name in enumerate(sorted(names), start=1)
        ]
    )


def _rows(attempts: int) -> Iterator[Values]:
    draw = random.Random(15)
    for number in range(attempts):
        began_ms, tenant = BEGAN_MS + number * DAYS * DAY_MS // attempts, draw.randrange(TENANTS)
        yield values_of(
            usage_row(
                f"{began_ms:012x}{draw.getrandbits(80):020x}-1",
                request_id=f"{began_ms:012x}{number:020x}",
                tenant=f"tenant-{tenant}",
                key_id=f"key-{tenant}",
                served_model=f"tenant-{tenant}/triage@1.{draw.randrange(3)}",
                engine_id="engine-1",
                adapter_id=tenant,
                usage_source="engine",
                prompt_tokens=draw.randrange(2_000),
                completion_tokens=draw.randrange(500),
                cost_nano=draw.randrange(10_000_000),
                ttft_ms=draw.randrange(10_000) / 10,
                started_at_ms=began_ms,
                finished_at_ms=began_ms + draw.randrange(20_000),
                segment=f"usage-w-{number // SEGMENT_ROWS:06d}",
            )
        )


def _reported(registry: Registry) -> tuple[tuple[UsageLine, ...], float]:
    """The lines, and the median of the seconds that they take."""
    times = []
    for _ in range(RUNS):
        began = time.monotonic()
        lines = report_usage(registry.db, "version", since_ms=WINDOW[0], until_ms=WINDOW[1]).lines
        times.append(time.monotonic() - began)
    return lines, round(statistics.median(times), 2)
