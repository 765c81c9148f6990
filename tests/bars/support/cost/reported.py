"""A cost report over 1,000,000 attempts of 30 days, 50 tenants and 4 engines, as the command prints it in JSON."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.cost.reporting import Asked, report_of
from registry.days import DAY_MS, day_ms
from registry.engine_costs.spans import SeenEngine
from registry.ledger.usage_record import Values, values_of
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.bars.support.cost import Part
from tests.live.installation import ROOT
from tests.support.usage_rows import usage_row

ATTEMPTS, DAYS, TENANTS, ENGINES, RUNS, LIMIT_S = 1_000_000, 30, 50, 4, 5, 2.0
BATCH = 5_000
FROM, UNTIL = "2026-06-01", "2026-07-01"
BEGAN_MS = day_ms(FROM, "from")
END_MS = BEGAN_MS + DAYS * DAY_MS


def measure(folder: Path, scale: float) -> Part:
    """Book, keep busy days as the leader does, and report: by tenant and by version."""
    attempts = round(ATTEMPTS * scale)
    with Registry.open(RegistrySettings(state_dir=folder)) as registry:
        for tenant in range(TENANTS):
            registry.tenants.create(f"tenant-{tenant}")
        _book(registry, attempts)
        registry.engine_busy.close(END_MS)
        found = report_of(registry, Asked("version", BEGAN_MS, END_MS))
        adds_up = sum(line.engine.loaded_nano or 0 for line in found.lines) == found.engines.bill_nano
    times = {by: _command_s(folder, by) for by in ("tenant", "version")}
    slowest = max(times.values())
    return Part(
        figures={"report_s": slowest},
        bars={
            "every attempt is in the report": found.total.requests == attempts,
            "the lines' engine costs are the bill": adds_up and bool(found.engines.bill_nano),
        },
        speed={f"a report over 1,000,000 attempts within {LIMIT_S:g} s": slowest <= LIMIT_S},
        detail={"report_s_by": times, "report_lines": len(found.lines)},
    )


def _book(registry: Registry, attempts: int) -> None:
    registry.engine_costs.add(
        "*", "on_demand", {"hourly": "2"}, effective_from_ms=BEGAN_MS, source="a bar", actor="a bar", correct=True
    )
    seen = [
        SeenEngine(f"engine-{number}", f"http://{number}", "host", None, "sha256:b", "vllm on gpu", BEGAN_MS)
        for number in range(ENGINES)
    ]
    registry.engine_spans.see(seen, BEGAN_MS + 1)
    registry.engine_spans.see(seen, END_MS)
    rows: list[Values] = []
    for row in _rows(attempts):
        rows.append(row)
        if len(rows) == BATCH:
            registry.ledger.book(rows)
            rows = []
    registry.ledger.book(rows)


def _rows(attempts: int) -> Iterator[Values]:
    draw = random.Random(15)
    for number in range(attempts):
        began_ms, tenant = BEGAN_MS + number * DAYS * DAY_MS // attempts, draw.randrange(TENANTS)
        prompt_tokens = draw.randrange(1, 2_000)
        yield values_of(
            usage_row(
                f"{number:020x}-1",
                request_id=f"{number:020x}",
                tenant=f"tenant-{tenant}",
                key_id=f"key-{tenant}",
                served_model=f"tenant-{tenant}/triage@1.{draw.randrange(3)}",
                engine_id=f"engine-{draw.randrange(ENGINES)}",
                usage_source="engine",
                prompt_tokens=prompt_tokens,
                cached_tokens=draw.randrange(prompt_tokens),
                completion_tokens=draw.randrange(500),
                cost_nano=draw.randrange(10_000_000),
                started_at_ms=began_ms,
                finished_at_ms=began_ms + draw.randrange(20_000),
            )
        )


def _command_s(folder: Path, by: str) -> float:
    """The median of the seconds that the whole command takes, its start included."""
    command = [sys.executable, "-m", "switchyard", "cost", "report", "--by", by, "--from", FROM, "--until", UNTIL]
    environment = os.environ | {"SWITCHYARD_STATE_DIR": str(folder)}
    times = []
    for _ in range(RUNS):
        began = time.monotonic()
        subprocess.run([*command, "--json"], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - began)
    return round(statistics.median(times), 2)
