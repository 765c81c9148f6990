"""`switchyard cost engines`, `bill`, `idle` and `weights`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from gateway.cost.costing import allocation_of
from registry.days import DAY_MS, date_of, when
from registry.db import now_ms
from registry.engine_costs.spans import SeenEngine
from registry.engine_costs.weights import FittedWeights
from registry.service import Registry
from tests.support.cli_runner import Run, done, run
from tests.support.usage_rows import usage_row

__all__ = ["done", "run"]


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server whose clock on the wall is not UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def reserved(registry: Registry, since_ms: int) -> None:
    """An engine and a trainer at a dollar an hour each, at all hours."""
    for scope in ("engine:e", "trainer"):
        registry.engine_costs.add(
            scope, "reserved", {"hourly": "1"}, effective_from_ms=since_ms, source="contract", actor="me"
        )


def test_costs_are_added_ended_and_shown_and_the_bill_says_what_is_missing(run: Run) -> None:
    add = ("cost", "engines", "add", "*", "on_demand", "--hourly", "2.74", "--source", "an offer")
    said = run(*add).out
    assert "$2.74 an hour (on_demand)" in said
    assert f"for all of it: --from {date_of(now_ms() // DAY_MS)}" in said
    assert "for all of it" not in run(*add).out, "only the first one leaves a gap"
    assert "hourly · gpus" in run("cost", "engines", "list").out
    assert "nothing more" in run("cost", "engines", "end", "*", "--source", "given back").out
    assert run("cost", "bill", "--json").document["bill"] == "0"
    assert "no engine had a cost" in run("cost", "bill", "--explain").out
    assert "unallocated, as nobody has said otherwise" in run("cost", "idle").out
    assert "idle time: equal" in run("cost", "idle", "equal").out
    assert run("cost", "idle", "reserved", "--share", "acme").status != 0
    assert "nothing is fitted yet" in run("cost", "weights", "--fit").out


def test_a_window_that_ends_in_the_future_is_billed_until_now_and_says_so(done: Run) -> None:
    today = now_ms() // DAY_MS
    with Registry.open() as registry:
        reserved(registry, (today - 1) * DAY_MS)
    window = ("--from", date_of(today - 1), "--until", date_of(today + 30), "--json")
    bill, report = done("cost", "bill", *window).document, done("cost", "report", *window).document
    hours = sum(engine["paid_hours"] for engine in bill["engines"])
    assert hours == pytest.approx(2 * (bill["until_ms"] - bill["since_ms"]) / 3_600_000, abs=1e-4)
    assert max(bill["until_ms"], report["until_ms"]) <= now_ms()
    later = done("cost", "bill", "--from", date_of(today + 2), "--until", date_of(today + 4), "--json").document
    assert (later["bill"], later["engines"]) == ("0", [])


@pytest.mark.usefixtures("in_tokyo")
def test_bills_and_weights_name_their_times_in_utc_wherever_the_server_is(done: Run) -> None:
    heading = done("cost", "bill", "--from", "2026-06-01", "--until", "2026-06-02").out.splitlines()[0]
    assert heading == "2026-06-01 00:00 to 2026-06-02 00:00 UTC, costs c0.i0.w0.s0"
    with Registry.open() as registry:
        reserved(registry, 0)
        seen = [SeenEngine("e", "http://e", "host", None, "sha256:b", "vllm on gpu", 0)]
        registry.engine_spans.see(seen, 1)
        registry.engine_spans.see(seen, DAY_MS)
        registry.engine_weights.put(FittedWeights("sha256:b", "vllm on gpu", 1, 4, 0, 0.1, 30, made_at_ms=3_600_000))
        named = {one.name for one in allocation_of(registry, 0, DAY_MS).weights.values()}
    assert "fitted 1970-01-01 01:00 UTC from 30 samples, residual 0.100" in named
    assert when(3_600_000) == "1970-01-01 01:00:00Z"
    assert "1970-01-01 00:00:00Z" in done("cost", "engines", "list").out


def test_a_tenant_has_no_margin_where_some_of_what_it_used_had_no_tariff(done: Run) -> None:
    with Registry.open() as registry:
        reserved(registry, 0)
        prices = {"all": (5, 7), "some": (5, None), "none": (None, None)}
        registry.ledger.record(
            usage_row(f"{tenant} {number}", tenant=tenant, engine_id="e", cost_nano=nano)
            for tenant, of in prices.items()
            for number, nano in enumerate(of)
        )
    window = ("--from", "1970-01-01", "--until", "1970-01-02")
    margins = {one.pop("tenant"): one for one in done("cost", "bill", *window, "--json").document["margins"]}
    assert {
        name: (one["tariff"], one["unpriced"], one["margin"]) for name, one in margins.items() if name != "all"
    } == {
        "some": ("0.000000005", 1, None),
        "none": (None, 2, None),
    }
    assert (margins["all"]["tariff"], margins["all"]["unpriced"]) == ("0.000000012", 0)
    assert margins["all"]["margin"].startswith("-")
    rows = [line.split() for line in done("cost", "bill", *window).out.splitlines()]
    assert ["none", "–", "2", margins["none"]["loaded"], "–"] in rows


def test_a_log_of_costs_that_somebody_touched_is_found_by_the_ledger_s_check(done: Run, run: Run) -> None:
    with Registry.open() as registry:
        reserved(registry, 0)
    assert done("ledger", "verify", "--json").document["problems"] == []
    with Registry.open() as registry, registry.db.write() as session:
        session.execute(text("DROP TRIGGER engine_cost_log_no_update"))
        session.execute(text("UPDATE engine_cost_log SET nano_per_hour = 1 WHERE seq = 1"))
    found = run("ledger", "verify", "--json")
    (problem,) = found.document["problems"]
    assert (found.status, problem) == (
        1,
        "line 1 of the log of engine costs is not what was written: its digest is another one",
    )
