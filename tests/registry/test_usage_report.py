"""Usage by tenant, adapter, version, key and day: sums, pages, and a table for spreadsheets."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import pytest

from registry.days import DAY_MS, day_ms
from registry.errors import InvalidInput
from registry.ledger.refusals import Refused
from registry.ledger.usage_report import UsageLine, reasons_said, report_usage, usage_csv
from registry.names import SYSTEM
from registry.service import Registry
from tests.support.usage_rows import usage_row

NOW = 3 * DAY_MS


@pytest.fixture
def used(registry: Registry) -> Registry:
    """Two tenants, two versions of an adapter, three keys, two days, every outcome, and a probe."""
    nothing = {"prompt_tokens": None, "cached_tokens": None, "completion_tokens": None}
    registry.ledger.record(
        [
            usage_row("a", ttft_ms=10.0, usage_source="engine", cost_nano=1_500_000_000),
            usage_row(
                "b", ttft_ms=30.0, usage_source="partial", outcome="client_aborted", completion_tokens=2, cost_nano=7
            ),
            usage_row("c", served_model="acme/triage@1.1", key_id="key-2", started_at_ms=DAY_MS + 5),
            usage_row(
                "d", **{**nothing, "prompt_tokens": 7}, outcome="engine_failed", usage_source="estimated", cost_nano=0
            ),
            usage_row("e", **nothing, outcome="rejected"),
            usage_row("f", **nothing, outcome="lost", finished_at_ms=None),
            usage_row("g", tenant="globex", served_model="tiny", key_id="key-3"),
            usage_row("h", tenant=SYSTEM, served_model="probes", key_id=""),
        ]
    )
    return registry


def names(registry: Registry, by: str, **options: object) -> list[tuple[str | None, str, int]]:
    report = report_usage(registry.db, by, until_ms=NOW, **options)  # type: ignore[arg-type]
    return [(line.tenant, line.name, line.attempts) for line in report.lines]


def test_a_tenants_line_has_every_outcome_and_all_tokens_that_somebody_counted(used: Registry) -> None:
    _, line, _ = report_usage(used.db, "tenant", until_ms=NOW).lines
    assert line.cost_dollars == "1.500000007"
    assert replace(line, busy_ms=0) == UsageLine(
        tenant="acme", name="acme", attempts=6, ok=2, client_aborted=1, key_revoked=0, failed=2, rejected=1, partial=1,
        estimated=1, prompt_tokens=37, cached_tokens=12, completion_tokens=12, cost_nano=1_500_000_007, unpriced=1,
        busy_ms=0, refused=0, refused_by_reason={}, ttft_ms=20.0, payable=3,
    )  # fmt: skip


def test_lines_stand_for_what_was_asked_for_and_probes_have_a_tenant_of_their_own(used: Registry) -> None:
    assert names(used, "tenant") == [(SYSTEM, SYSTEM, 1), ("acme", "acme", 6), ("globex", "globex", 1)]
    assert names(used, "adapter", tenants=["acme"]) == [("acme", "acme/triage", 6)]
    assert names(used, "version", tenants=["acme"]) == [("acme", "acme/triage@1.0", 5), ("acme", "acme/triage@1.1", 1)]
    assert names(used, "key", tenants=["acme"]) == [("acme", "key-1", 5), ("acme", "key-2", 1)]
    assert names(used, "tenant", tenants=["globex", "acme"]) == [("acme", "acme", 6), ("globex", "globex", 1)]
    assert names(used, "day", tenants=["globex", SYSTEM]) == [(None, "1970-01-01", 2)]
    assert names(used, "tenant", tenants=[]) == []
    assert names(used, "day") == [(None, "1970-01-01", 7), (None, "1970-01-02", 1)]
    assert names(used, "day", tenants=["acme"]) == [("acme", "1970-01-01", 5), ("acme", "1970-01-02", 1)]


@pytest.mark.parametrize("by", ["tenant", "adapter", "version", "key"])
def test_probes_have_no_price_and_so_no_cost(used: Registry, by: str) -> None:
    (line,) = (line for line in report_usage(used.db, by, until_ms=NOW).lines if line.tenant == SYSTEM)
    assert (line.attempts, line.cost_dollars) == (1, None)


def test_corrections_count(used: Registry) -> None:
    used.ledger.correct("c", "the engine was asked twice", "me", {"prompt_tokens": -3, "completion_tokens": 4})
    used.ledger.correct("a", "a credit", "me", {"cost_nano": -500_000_000})
    assert report_usage(used.db, "tenant", tenants=["acme"], until_ms=NOW).lines[0].cost_dollars == "1.000000007"
    (line,) = report_usage(used.db, "version", since_ms=DAY_MS, until_ms=NOW).lines
    assert (line.prompt_tokens, line.cached_tokens, line.completion_tokens) == (7, 4, 9)


def test_a_window_counts_attempts_that_began_in_it(used: Registry) -> None:
    assert names(used, "version", since_ms=DAY_MS) == [("acme", "acme/triage@1.1", 1)]
    report = report_usage(used.db, "tenant", since_ms=1_000, until_ms=1_000)
    assert (report.lines, report.next) == ((), None)


def test_refusals_are_in_the_lines_of_what_they_were_meant_for_with_their_reasons(used: Registry) -> None:
    def refused(model: str, reason: str, day: int = 0, tenant: str = "acme") -> Refused:
        return Refused(day, tenant, "key-1", model, f"tenant:{tenant}", reason)

    for _ in range(2):
        used.refusals.add({refused("", "requests_per_minute"): 500, refused("acme/triage@1.0", "daily_dollars"): 3})
    used.refusals.add({refused("", "model_not_found", tenant="initech"): 1, refused("", "concurrency", day=1): 7})

    def lines(by: str, **options: Any) -> dict[str, dict[str, int]]:
        found = report_usage(used.db, by, until_ms=NOW, **options).lines
        assert all(line.refused == sum(line.refused_by_reason.values()) for line in found)
        return {line.name: dict(line.refused_by_reason) for line in found if line.refused}

    of_acme = {"requests_per_minute": 1_000, "daily_dollars": 6, "concurrency": 7}
    assert lines("tenant") == {"acme": of_acme, "initech": {"model_not_found": 1}}
    assert lines("key", tenants=["acme"]) == {"key-1": of_acme}
    assert lines("version", tenants=["acme"]) == {
        "(none)": {"requests_per_minute": 1_000, "concurrency": 7},
        "acme/triage@1.0": {"daily_dollars": 6},
    }
    assert lines("day", tenants=["acme"], since_ms=DAY_MS) == {"1970-01-02": {"concurrency": 7}}
    assert lines("tenant", since_ms=DAY_MS * 2) == {}
    (initech,) = report_usage(used.db, "tenant", tenants=["initech"], until_ms=NOW).lines
    assert (initech.attempts, initech.cost_dollars) == (0, "0")
    (said,) = {reasons_said(line) for line in report_usage(used.db, "tenant", tenants=["acme"], until_ms=NOW).lines}
    assert said == "requests_per_minute 1000, concurrency 7, daily_dollars 6"


def test_pages_follow_each_other_without_a_gap(used: Registry) -> None:
    whole = names(used, "version")
    paged, after = [], None
    while True:
        report = report_usage(used.db, "version", until_ms=NOW, after=after, limit=1)
        paged += [(line.tenant, line.name, line.attempts) for line in report.lines]
        if (after := report.next) is None:
            break
    assert paged == whole


def test_a_spreadsheet_gets_a_heading_and_empty_cells_for_what_is_not_known(used: Registry) -> None:
    rows = list(csv.DictReader(io.StringIO(usage_csv(report_usage(used.db, "day", until_ms=NOW).lines))))
    cells = ("tenant", "name", "attempts", "cost_dollars", "unpriced", "ttft_ms")
    assert [tuple(row[cell] for cell in cells) for row in rows] == [
        ("", "1970-01-01", "7", "1.500000007", "1", "20.0"),
        ("", "1970-01-02", "1", "", "1", ""),
    ]


def test_what_is_no_way_to_look_at_it_and_what_is_no_day_are_refused_by_name(registry: Registry) -> None:
    with pytest.raises(InvalidInput, match="by is 'colour'; choose one of tenant, adapter"):
        report_usage(registry.db, "colour", until_ms=NOW)
    with pytest.raises(InvalidInput, match=r"until is .31\.12\..; expected YYYY-MM-DD"):
        day_ms("31.12.", "until")
