"""A little traffic with prices and engines that cost something, for reports of costs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from registry.days import DAY_MS, day_ms
from registry.engine_costs.spans import SeenEngine
from registry.service import Registry
from tests.support.usage_rows import usage_row

FIRST_MS = day_ms("2026-06-01", "day")
"""Of the traffic: three days, all of them over."""
DAYS = 3
UNTIL_MS = FIRST_MS + DAYS * DAY_MS
ENGINES = ("a100-1", "a100-2")


def add_engines(registry: Registry, hourly: str = "2", first_ms: int = FIRST_MS) -> None:
    """Two engines that were there on all three days, on demand."""
    registry.engine_costs.add(
        "*", "on_demand", {"hourly": hourly}, effective_from_ms=first_ms, source="a list", actor="a test", correct=True
    )
    seen = [SeenEngine(name, f"http://{name}", "host", None, "sha256:b", "vllm on gpu", first_ms) for name in ENGINES]
    registry.engine_spans.see(seen, first_ms + 1)
    registry.engine_spans.see(seen, first_ms + DAYS * DAY_MS)


def add_baseline(
    registry: Registry, name: str = "an-api", input_dollars: str = "1", output_dollars: str = "4", **options: Any
) -> str:
    """List prices that hold from the first day on; the price version that has them."""
    dollars: Mapping[str, str] = {"input": input_dollars, "output": output_dollars, **options.pop("more", {})}
    return registry.baselines.add_prices(name, dollars, source="a list", **{"effective_from_ms": FIRST_MS} | options)


def add_traffic(registry: Registry, first_ms: int = FIRST_MS) -> None:
    """Requests of acme and globex, which must be there, on both engines; a copy, a probe, a failure, one without a
    tariff and one without a count.
    """
    row = partial(_row, first_ms)
    unknown = dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens", "cost_nano"))
    rows = [
        *(row(f"a{day}", day, "a100-1", cost_nano=1_000_000 * (day + 1)) for day in range(3)),
        row("b", 1, "a100-2", served_model="acme/triage@1.1", arm="1.1", split_id=7, cost_nano=500),
        row("c", 1, "a100-2", outcome="client_aborted", completion_tokens=1, cost_nano=7),
        row("g", 0, "a100-2", tenant="globex", key_id="key-2", served_model="tiny", cost_nano=None),
        row("failed", 0, "a100-1", outcome="engine_failed", cost_nano=0),
        row("lost", 2, "a100-1", outcome="lost", finished_at_ms=None, **unknown),
        row("copy", 2, "a100-2", shadow=True, cost_nano=123),
        row("probe", 2, "a100-1", tenant="_system", cost_nano=None),
    ]
    registry.ledger.record(rows)


def _row(first_ms: int, attempt_id: str, day: int, engine: str, **changes: Any) -> dict[str, Any]:
    at_ms = first_ms + day * DAY_MS + 3_600_000
    usual = {
        "prompt_tokens": 1_000,
        "cached_tokens": 400,
        "completion_tokens": 100,
        "usage_source": "engine",
        "engine_id": engine,
        "started_at_ms": at_ms,
        "finished_at_ms": at_ms + 2_000,
    }
    return usage_row(attempt_id, **usual | changes)
