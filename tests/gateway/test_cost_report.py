"""The cost report: exact integers, dated prices, and nothing unknown counted as free."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.cost.hosts import hosts_of
from gateway.cost.report import build_report
from registry.days import DAY_MS
from registry.db import now_ms
from registry.errors import Conflict, InvalidInput
from registry.ledger.store import HostPriceInfo, UsageSum
from registry.money import NANO
from registry.names import SYSTEM
from registry.prices.baseline_infos import PricePeriod
from tests.support.stack import House

HOUR = 3_600_000
GPU = {"gpu": 1}
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
        ledger.sums, "gpt", house.registry.baselines.prices("gpt"), [], since_ms=DAY_MS, until_ms=3 * DAY_MS, hosts=GPU
    )
    assert len(report.lines) == 1
    assert report.lines[0].attempts == 3, "the window's end is not in it"
    assert report.lines[0].api_nano == 2 * 360_000 + 3_600_000
    assert report.lines[0].unpriced_attempts == 0
    assert report.lines[0].host_nano is None
    assert report.host_nano is None


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
        ledger.sums, "gpt", house.registry.baselines.prices("gpt"), [], since_ms=0, until_ms=3 * DAY_MS, hosts=GPU
    ).lines[0]
    assert line.attempts == 6
    assert line.failed == 3, "lost, engine_failed and rejected"
    assert line.unpriced_attempts == 1 + 3, "a rejected request used nothing"
    assert line.api_nano == 360_000


def test_our_own_probes_have_no_api_price_and_tenants_carry_the_hosts_between_them(house: House) -> None:
    ledger = house.registry.ledger
    add(house, 0, "0.30", "0.15", "1.20")
    ledger.add_host_price(HostPriceInfo("gpu", 0, 2 * NANO, "test"))
    ledger.record([attempt(HOUR), attempt(HOUR, tenant=SYSTEM, model="probes")])
    probes, acme = build_report(
        ledger.sums,
        "gpt",
        house.registry.baselines.prices("gpt"),
        ledger.host_prices(),
        since_ms=0,
        until_ms=2 * HOUR,
        hosts=GPU,
    ).lines
    assert (probes.tenant, probes.known_api_nano, probes.unpriced_attempts) == (SYSTEM, None, 0)
    assert (probes.host_nano, acme.host_nano) == (None, 4 * NANO)


def test_no_host_is_charged_before_the_first_engine_booted() -> None:
    hosts = [HostPriceInfo("gpu", 0, NANO, "test")]
    for boot_ms, hours in ((None, 24), (0, 24), (20 * HOUR, 4), (2 * DAY_MS, 0)):
        report = build_report(
            nothing, "gpt", [], hosts, since_ms=0, until_ms=DAY_MS, hosts={"gpu": 2}, first_boot_ms=boot_ms
        )
        assert report.host_nano == hours * 2 * NANO


def test_several_kinds_of_hosts_have_prices_from_the_same_date_and_each_costs_its_own(house: House) -> None:
    ledger = house.registry.ledger
    for one in (HostPriceInfo("h100", 0, 3 * NANO, "x"), HostPriceInfo("a10", 0, NANO, "x")):
        ledger.add_host_price(one)
    ledger.add_host_price(HostPriceInfo("a10", 5 * HOUR, 2 * NANO, "x"))
    with pytest.raises(Conflict, match="a10 has an hourly price from that date"):
        ledger.add_host_price(HostPriceInfo("a10", 0, 2 * NANO, "x"))
    prices = ledger.host_prices()
    for hosts, dollars in (({"h100": 1}, 30), ({"a10": 1}, 15), ({"h100": 2, "a10": 3}, 105), ({}, None)):
        found = build_report(nothing, "gpt", [], prices, since_ms=0, until_ms=10 * HOUR, hosts=hosts).host_nano
        assert found == (None if dollars is None else dollars * NANO)


def test_hosts_are_counted_by_kind_where_there_are_several() -> None:
    assert hosts_of("1", []) == {}
    assert hosts_of("3", ["gpu"]) == {"gpu": 3}
    assert hosts_of("1", ["a10", "h100"]) == {"a10": 1, "h100": 1}
    assert hosts_of("h100=2, a10=1", ["a10", "h100"]) == {"h100": 2, "a10": 1}
    for text in ("2", "h200=1", "h100", "h100=x", "", "=", "h100=-1"):
        with pytest.raises(InvalidInput):
            hosts_of(text, ["a10", "h100"])


def test_the_whole_window_has_every_attempt_that_there_is(house: House) -> None:
    ledger = house.registry.ledger
    ledger.record([attempt(HOUR, tenant=SYSTEM, model="probes"), attempt(2 * HOUR)])
    ledger.record([attempt(now_ms() + 3 * DAY_MS)])  # booked while a clock was wrong
    assert ledger.span_ms() is not None
    span = ledger.span_ms() or (0, 0)
    report = build_report(ledger.sums, "gpt", [], [], since_ms=span[0], until_ms=span[1] + 1, hosts={})
    assert sum(line.attempts for line in report.lines) == 3
    assert {line.known_api_nano for line in report.lines} == {None}


def test_lines_are_by_tenant_and_version_and_share_the_hosts_by_busy_time(house: House) -> None:
    ledger = house.registry.ledger
    add(house, 0, "0.30", "0.15", "1.20")
    ledger.add_host_price(HostPriceInfo("gpu", 0, 2 * NANO, "test"))
    ledger.add_host_price(HostPriceInfo("gpu", 5 * HOUR, 4 * NANO, "test"))
    ledger.record(
        [
            attempt(HOUR, finished_at_ms=HOUR + 3_000),
            attempt(HOUR, model="acme/t@1.1", finished_at_ms=HOUR + 1_000),
            attempt(HOUR, tenant="globex", model="globex/s@1.0", finished_at_ms=HOUR + 4_000),
        ]
    )
    report = build_report(
        ledger.sums,
        "gpt",
        house.registry.baselines.prices("gpt"),
        ledger.host_prices(),
        since_ms=0,
        until_ms=10 * HOUR,
        hosts={"gpu": 3},
    )
    assert report.host_nano == (5 * 2 + 5 * 4) * 3 * NANO
    assert [(line.tenant, line.model, line.host_nano) for line in report.lines] == [
        ("acme", "acme/t@1.0", report.host_nano * 3 // 8),
        ("acme", "acme/t@1.1", report.host_nano * 1 // 8),
        ("globex", "globex/s@1.0", report.host_nano * 4 // 8),
    ]


def test_a_window_that_begins_before_the_first_hourly_price_has_no_host_cost() -> None:
    hosts = [HostPriceInfo("gpu", HOUR, NANO, "test")]
    assert build_report(nothing, "gpt", [], hosts, since_ms=0, until_ms=DAY_MS, hosts=GPU).host_nano is None
    assert build_report(nothing, "gpt", [], hosts, since_ms=HOUR, until_ms=DAY_MS, hosts=GPU).host_nano == 23 * NANO


def test_the_periods_cover_the_window_without_gap_or_overlap() -> None:
    asked: list[tuple[int, int]] = []

    def sums(since: int, until: int) -> Sequence[UsageSum]:
        asked.append((since, until))
        return []

    prices = [PricePeriod("gpt", at, None, {}) for at in (5, 20, 30, 99)]
    build_report(sums, "gpt", prices, [], since_ms=10, until_ms=40, hosts=GPU)
    assert asked == [(10, 20), (20, 30), (30, 40)]


def test_the_same_attempt_is_counted_once_however_often_it_is_recorded(house: House) -> None:
    row = attempt(DAY_MS)
    assert house.registry.ledger.record([row, row]) == 1
    assert house.registry.ledger.record([row]) == 0
    assert house.registry.ledger.sums(0, 2 * DAY_MS)[0].attempts == 1
