"""The cost report: exact integers, dated prices, and nothing unknown counted as free."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from gateway.cost.report import build_report
from registry.days import DAY_MS
from registry.db import now_ms
from registry.ledger.store import UsageSum
from registry.names import SYSTEM
from registry.prices.baseline_infos import PricePeriod
from tests.support.stack import House

HOUR = 3_600_000
numbers = itertools.count()


def add(house: House, at_ms: int, input_dollars: str, cached: str, output: str) -> None:
    """Prices of gpt; the newest first, as one that is dated back fills a gap only."""
    dollars = {"input": input_dollars, "cached_input": cached, "output": output}
    house.registry.baselines.add_prices("gpt", dollars, source="test", effective_from_ms=at_ms)


def attempt(at_ms: int, *, tenant: str = "acme", model: str = "acme/t@1.0", **fields: Any) -> dict[str, Any]:
    """A usage row of 1,000 prompt tokens, 400 of them cached, and 100 completion tokens, that took 2 s."""
    number = next(numbers)
    return {
        "attempt_id": f"r{number}-0",
        "request_id": f"r{number}",
        "tenant": tenant,
        "key_id": "k",
        "requested_model": model,
        "served_model": model,
        "split_id": None,
        "arm": None,
        "unit_source": None,
        "endpoint": "chat",
        "engine": "http://e",
        "outcome": "ok",
        "prompt_tokens": 1_000,
        "cached_tokens": 400,
        "completion_tokens": 100,
        "started_at_ms": at_ms,
        "finished_at_ms": at_ms + 2_000,
        **fields,
    }


def nothing(_since: int, _until: int) -> Sequence[UsageSum]:
    return []


def test_a_price_that_changes_within_the_window_holds_for_what_began_after(house: House) -> None:
    ledger = house.registry.ledger
    add(house, 2 * DAY_MS, "3.00", "1.50", "12.00")
    add(house, DAY_MS, "0.30", "0.15", "1.20")
    rows = [attempt(DAY_MS), attempt(2 * DAY_MS - 1), attempt(2 * DAY_MS), attempt(3 * DAY_MS)]
    assert ledger.record(rows) == 4
    report = build_report(
        ledger.sums, "gpt", house.registry.baselines.prices("gpt"), since_ms=DAY_MS, until_ms=3 * DAY_MS
    )
    assert len(report.lines) == 1
    assert report.lines[0].attempts == 3, "the window's end is not in it"
    assert report.lines[0].api_nano == 2 * 360_000 + 3_600_000
    assert report.lines[0].unpriced_attempts == 0


def test_usage_before_the_first_price_and_without_a_report_is_unpriced_and_not_free(house: House) -> None:
    ledger = house.registry.ledger
    add(house, 2 * DAY_MS, "0.30", "0.15", "1.20")
    unknown: dict[str, Any] = {"prompt_tokens": None, "cached_tokens": None, "completion_tokens": None}
    ledger.record(
        [
            attempt(DAY_MS),
            attempt(2 * DAY_MS),
            attempt(2 * DAY_MS, outcome="lost", finished_at_ms=None, **unknown),
            attempt(2 * DAY_MS, outcome="client_aborted", **unknown),
            attempt(2 * DAY_MS, outcome="engine_failed", **unknown),
            attempt(2 * DAY_MS, outcome="rejected", **unknown),
        ]
    )
    line = build_report(
        ledger.sums, "gpt", house.registry.baselines.prices("gpt"), since_ms=0, until_ms=3 * DAY_MS
    ).lines[0]
    assert line.attempts == 6
    assert line.failed == 3, "lost, engine_failed and rejected"
    assert line.unpriced_attempts == 1 + 3, "a rejected request used nothing"
    assert line.api_nano == 360_000


def test_our_own_probes_have_no_api_price(house: House) -> None:
    ledger = house.registry.ledger
    add(house, 0, "0.30", "0.15", "1.20")
    ledger.record([attempt(HOUR), attempt(HOUR, tenant=SYSTEM, model="probes")])
    probes, acme = build_report(
        ledger.sums,
        "gpt",
        house.registry.baselines.prices("gpt"),
        since_ms=0,
        until_ms=2 * HOUR,
    ).lines
    assert (probes.tenant, probes.known_api_nano, probes.unpriced_attempts) == (SYSTEM, None, 0)
    assert acme.api_nano == 360_000


def test_the_whole_window_has_every_attempt_that_there_is(house: House) -> None:
    ledger = house.registry.ledger
    ledger.record([attempt(HOUR, tenant=SYSTEM, model="probes"), attempt(2 * HOUR)])
    ledger.record([attempt(now_ms() + 3 * DAY_MS)])  # booked while a clock was wrong
    assert ledger.span_ms() is not None
    span = ledger.span_ms() or (0, 0)
    report = build_report(ledger.sums, "gpt", [], since_ms=span[0], until_ms=span[1] + 1)
    assert sum(line.attempts for line in report.lines) == 3
    assert {line.known_api_nano for line in report.lines} == {None}


def test_the_periods_cover_the_window_without_gap_or_overlap() -> None:
    asked: list[tuple[int, int]] = []

    def sums(since: int, until: int) -> Sequence[UsageSum]:
        asked.append((since, until))
        return []

    prices = [PricePeriod("gpt", at, None, {}) for at in (5, 20, 30, 99)]
    build_report(sums, "gpt", prices, since_ms=10, until_ms=40)
    assert asked == [(10, 20), (20, 30), (30, 40)]


def test_the_same_attempt_is_counted_once_however_often_it_is_recorded(house: House) -> None:
    row = attempt(DAY_MS)
    assert house.registry.ledger.record([row, row]) == 1
    assert house.registry.ledger.record([row]) == 0
    assert house.registry.ledger.sums(0, 2 * DAY_MS)[0].attempts == 1
