"""The README's figures are those in loadtest/results, and differ from them by rounding only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "README.md").read_text().partition("## What it costs")[2].partition("\n## ")[0]
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def overhead(result: Any, concurrency: int, field: str) -> list[float]:
    """Of chats: in one piece, streamed."""
    found = {row["case"]: row[field] for row in result["figures"]["rows"] if row["concurrency"] == concurrency}
    return [found["unstreamed"], found["52-event stream"]]


ROWS: dict[str, tuple[str, Callable[[Any], list[float]]]] = {
    "added latency": ("overhead", lambda all_: [1, 52, *overhead(all_, 1, "added_ms")]),
    "CPU of the gateway": ("overhead", lambda all_: [32, *(us / 1000 for us in overhead(all_, 32, "gateway_cpu_us"))]),
    "in chats of the same size": (
        "dialects",
        lambda all_: [
            all_["figures"]["of_a_chat"][name][case]
            for case in ("unstreamed", "52-event stream")
            for name in ("responses", "stored responses", "messages")
        ],
    ),
    "swaps under": (
        "swap",
        lambda all_: [
            all_["figures"]["detail"]["swaps"],
            *(all_["figures"][name] for name in ("requests", "failed", "stale")),
            99,
            all_["figures"]["p99_ratio"],
        ],
    ),
    "engines and controllers killed": (
        "chaos",
        lambda all_: [60, all_["figures"]["wrong_answers"], all_["figures"]["max_recovery_s"]],
    ),
    "of a gateway under load": (
        "crash",
        lambda all_: [all_["figures"]["kills"], 9, all_["figures"]["lost"], all_["figures"]["duplicated"]],
    ),
    "broken at random": (
        "abuse",
        lambda all_: [all_["figures"]["fuzzed"], all_["figures"]["server_errors"], all_["figures"]["rss_slope_mb"]],
    ),
    "attacks by one tenant": (
        "abuse",
        lambda all_: [
            len(all_["figures"]["attacks"]),
            95,
            20,
            *(all_["figures"][name] for name in ("worst_p95_ratio", "noisy_p95_ratio")),
            1.2,
            all_["figures"]["refused_of_others"],
        ],
    ),
    "between turns of stored conversations": (
        "responses_state",
        lambda all_: [all_["figures"]["kills"], 9, all_["figures"]["lost"], all_["figures"]["acknowledged"]],
    ),
    "of a trainer's worker": (
        "trainer",
        lambda all_: [all_["figures"]["kills"], 9, all_["figures"]["same_digest"], all_["figures"]["completed"]],
    ),
    "equal arms": ("experiments", lambda all_: [100, 100 * all_["figures"]["fpr_upper_max"]]),
    "poisoned sets": ("trainer", lambda all_: [all_["figures"]["poisoned_caught"], 12]),
    "plain TRL script": ("trainer", lambda all_: [all_["figures"]["tokens_ratio"]]),
    "with one dollar left": ("budget", lambda all_: [1_000, all_["detail"]["spent_of_the_last_dollar_usd"]]),
    "against round robin": (
        "affinity",
        lambda all_: [all_["figures"]["loads_ratio_8"], 8, all_["figures"]["loads_ratio_32"], 32],
    ),
    "part of an engine's time": (
        "live_weights",
        lambda all_: [100 * all_["figures"][name] for name in ("attribution_error", "assumed_attribution_error")],
    ),
    "a cost report": (
        "cost",
        lambda all_: [1_000_000, *(all_["figures"][n] for n in ("report_s", "archived_report_s"))],
    ),
    "the dashboard beside": (
        "dashboard",
        lambda all_: [
            all_["adapters"],
            all_["figures"]["first_paint_s"],
            100 * all_["figures"]["gateway_cpu_share"],
        ],
    ),
    "adapters of 1,000 tenants": (
        "scale",
        lambda all_: [10_000, 1_000, all_["figures"]["delta_ms"], all_["figures"]["rss_mb"]],
    ),
}
"""A part of a line's text → the result that it is of, and its numbers in the order in which they stand."""


@pytest.mark.parametrize("part", ROWS)
def test_each_figure_of_the_readme_is_one_of_a_full_run_but_for_rounding(part: str) -> None:
    name, figures = ROWS[part]
    result = json.loads((ROOT / "loadtest" / "results" / f"{name}.json").read_bytes())
    assert result["scale"] == 1.0, f"{name}.json is of a small run; in full: python -m tests.bars {name}"
    (line,) = [line for line in TABLE.splitlines() if part in line]
    shown = [Decimal(number.replace(",", "")) for number in NUMBER.findall(line.replace("one client", "1 client"))]
    expected = [Decimal(str(figure)) for figure in figures(result)]
    assert len(shown) == len(expected), (line, expected)
    for said, measured in zip(shown, expected, strict=True):
        assert abs(said - measured) <= half(said), (line, measured)


def test_no_line_of_the_readmes_figures_is_left_out() -> None:
    lines = [line for line in TABLE.splitlines() if NUMBER.search(line) and line.startswith("|")]
    assert len(lines) == len(ROWS)
    assert all(any(part in line for part in ROWS) for line in lines)


def half(said: Decimal) -> Decimal:
    """Half of the last place that is written."""
    exponent = said.as_tuple().exponent
    assert isinstance(exponent, int)
    return Decimal(1).scaleb(exponent) / 2
