"""`switchyard cost forecast` and `anomalies`, on usage as the journal books it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cost.costing import allocation_of
from gateway.cost.engine_ahead import LEAST_LOOKED_AT
from gateway.cost.month_end import Calendar
from registry.days import DAY_MS
from registry.db import now_ms
from registry.money import nano_to_dollars
from registry.service import Registry
from tests.support.cli_runner import Run, done, run
from tests.support.usage_rows import usage_row

__all__ = ["done", "run"]

DAYS = 40


def row(day: int, number: int, **changes: Any) -> dict[str, Any]:
    began = day * DAY_MS + number
    times = {"started_at_ms": began, "finished_at_ms": began + 100}
    return usage_row(f"{day}-{number}-{changes.get('tenant', 'acme')}", cost_nano=10**9, **times, **changes)


@pytest.fixture
def used(done: Run) -> Run:
    """Ten requests of a dollar on each of forty days, and thirty yesterday."""
    today = now_ms() // DAY_MS
    rows = [row(day, number) for day in range(today - DAYS, today) for number in range(30 if day == today - 1 else 10)]
    rows += [row(today - 3, number, tenant="globex") for number in range(2)]
    rows += [row(today - 2, 0, tenant="_system"), row(today - 2, 99, shadow=True)]
    with Registry.open() as registry:
        registry.tenants.create("acme")
        registry.tenants.create("globex")
        registry.baselines.add_prices("an-api", {"input": "1", "output": "1"}, source="a list", effective_from_ms=0)
        registry.ledger.record([{**one, "key_id": "key-1"} for one in rows])
    return done


def test_a_forecast_has_what_is_booked_what_is_expected_and_where_it_is_too_early(used: Run) -> None:
    lines = used("cost", "forecast", "--baseline", "an-api").out.splitlines()
    assert lines[0].endswith("(UTC), at the tariff, for engines and on an-api")
    acme, globex = (next(line for line in lines if line.startswith(name)) for name in ("acme", "globex"))
    assert " to $" in acme
    assert "too early: 3 of 14 whole days" in globex
    document = used("cost", "forecast", "--tenant", "acme", "--baseline", "an-api", "--json").document
    (found,) = document["tenants"]
    assert found["tariff"]["days"] == DAYS
    assert float(found["tariff"]["low_dollars"]) <= float(found["tariff"]["expected_dollars"])
    assert found["baselines"]["an-api"]["expected_dollars"] is not None
    assert document["price_version"].startswith("p")


def test_the_dearest_tenants_are_forecast_alone_and_the_others_are_counted(used: Run) -> None:
    whole = used("cost", "forecast", "--json").document
    assert ([one["tenant"] for one in whole["tenants"]], whole["of_tenants"]) == (["acme", "globex"], 2)
    one = used("cost", "forecast", "--most", "1", "--json").document
    assert (one["tenants"], one["of_tenants"]) == (whole["tenants"][:1], 2)
    assert "and 1 more, charged less" in used("cost", "forecast", "--most", "1").out


def test_engine_cost_is_forecast_from_days_that_are_over_and_of_engines_without_one_nothing_is_known(used: Run) -> None:
    lines = used("cost", "forecast").out.splitlines()
    assert next(line for line in lines if line.startswith("acme")).split()[-2] == "–"
    (nothing,) = used("cost", "forecast", "--tenant", "acme", "--json").document["tenants"]
    assert nothing["engine_cost"] is None
    today = now_ms() // DAY_MS
    first_ms = (today - DAYS) * DAY_MS
    with Registry.open() as registry:
        registry.engine_costs.add(
            "engine:http://127.0.0.1:8001",
            "reserved",
            {"hourly": "1"},
            source="a test",
            actor="me",
            effective_from_ms=first_ms,
        )
    document = used("cost", "forecast", "--json").document
    acme, globex = document["tenants"]
    found = acme["engine_cost"]
    calendar = Calendar.at(now_ms())
    with Registry.open() as registry:
        window = calendar.first * DAY_MS, today * DAY_MS
        allocated = allocation_of(registry, *window).lines if calendar.first < today else ()
        booked = sum(line.loaded_nano for line in allocated if line.tenant == "acme" and line.kind == "tenant")
    assert found["booked_dollars"] == nano_to_dollars(booked)
    assert found["days"] == today - min(calendar.first, today - LEAST_LOOKED_AT)
    assert float(found["low_dollars"]) <= float(found["expected_dollars"]) <= float(found["high_dollars"])
    assert globex["engine_cost"]["expected_dollars"] is None, "it was there for three days"
    assert document["engine_uncosted"] == 0


def test_a_jump_is_told_with_its_cause_and_a_quiet_day_is_not(used: Run) -> None:
    said = used("cost", "anomalies").out
    assert said.startswith("acme used $30 on ")
    assert (
        "3.0 times what was to be expected ($10). More requests of key key-1 on acme/triage: 30 instead of 10" in said
    )
    (found,) = used("cost", "anomalies", "--days", "20", "--json").document
    assert (found["tenant"], found["unit"], found["parts"][0]["cause"]) == ("acme", "dollars", "requests")
    assert used("cost", "anomalies", "--tenant", "globex").out == "nothing unusual yesterday\n"


def test_what_there_is_not_is_refused(used: Run, run: Run) -> None:
    assert "initech" in run("cost", "forecast", "--tenant", "initech").err
    assert "initech" in run("cost", "anomalies", "--tenant", "initech").err
    assert "--baseline is 'an-ap'" in run("cost", "forecast", "--baseline", "an-ap").err
    assert run("cost", "anomalies", "--days", "32").status == 2


def test_without_usage_both_say_so(done: Run) -> None:
    assert "no usage in the last 91 days" in done("cost", "forecast").out
    assert done("cost", "anomalies", "--days", "2").out == "nothing unusual in the last 2 whole days\n"
