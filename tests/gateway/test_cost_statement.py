"""A tenant's month: its own, without what engines cost unless that is asked for, on a page that stands by itself."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from gateway.cost.costing import bill_document
from gateway.cost.reporting import Asked
from gateway.cost.statement import Statement, month_ms, statement_document, statement_of
from gateway.cost.statement_page import page_of
from registry.days import DAY_MS, day_ms
from registry.db import now_ms
from registry.engine_costs.loads import EngineLoad
from registry.errors import InvalidInput, NotFound
from registry.service import Registry
from tests.support.cost_parts import FIRST_MS, add_baseline, add_engines, add_traffic
from tests.support.stack import House
from tests.support.usage_rows import usage_row

ASKED = Asked(baselines=("an-api",))


@pytest.fixture
def registry(house: House) -> Registry:
    add_engines(house.registry)
    add_baseline(house.registry)
    add_traffic(house.registry)
    return house.registry


def made(registry: Registry, *, with_engine_costs: bool = False) -> Statement:
    return statement_of(registry, "acme", "2026-06", ASKED, with_engine_costs=with_engine_costs)


def test_a_statement_adds_up_by_version_and_by_day_and_has_no_copies(registry: Registry) -> None:
    document = statement_document(made(registry))
    assert (document["charged_dollars"], document["complete"]) == ("0.006000507", True)
    assert [line["name"] for line in document["versions"]] == ["acme/triage@1.0", "acme/triage@1.1"]
    assert [line["name"] for line in document["days"]] == ["2026-06-01", "2026-06-02", "2026-06-03"]
    for of in ("versions", "days"):
        assert sum(line["requests"] for line in document[of]) == document["total"]["requests"] == 5
    assert "globex" not in str(document)


def test_what_engines_cost_is_the_operators_own(registry: Registry) -> None:
    document = statement_document(made(registry))
    assert {line["engine_cost"] for line in document["versions"]} == {None}
    assert document["total"]["margin_dollars"] is None
    assert document["total"]["baselines"]["an-api"]["savings_dollars"] is None
    assert not any("engine" in one for one in document["sentences"])
    assert "ngine" not in page_of(made(registry))
    inside = statement_document(made(registry, with_engine_costs=True))
    assert inside["total"]["engine_cost"]["loaded_dollars"] is not None
    assert "Engine cost" in page_of(made(registry, with_engine_costs=True))


def test_days_and_versions_of_a_statement_with_engine_costs_come_to_the_tenant_s_bill(registry: Registry) -> None:
    registry.engine_loads.add([EngineLoad("a100-2", "acme", "acme/triage@9", FIRST_MS, FIRST_MS + 60_000)])
    registry.idle_policies.put("equal", {}, actor="a test")
    document = statement_document(made(registry, with_engine_costs=True))
    (own,) = (one for one in bill_document(registry, *month_ms("2026-06"))["margins"] if one["tenant"] == "acme")
    for of in ("versions", "days"):
        costs = [Decimal(line["engine_cost"]["loaded_dollars"]) for line in document[of]]
        assert sum(costs) == Decimal(own["loaded"]) == Decimal(document["total"]["engine_cost"]["loaded_dollars"])
    assert document["total"]["margin_dollars"] == own["margin"]
    lines = statement_document(made(registry))
    assert {line["kind"] for of in ("versions", "days") for line in lines[of]} == {"tenant"}


def test_a_statement_of_a_tenant_that_used_nothing_says_so_whatever_falls_to_it(registry: Registry) -> None:
    registry.tenants.create("initech")
    registry.idle_policies.put("reserved", {"initech": "0.5"}, actor="a test")
    made = statement_of(registry, "initech", "2026-06", ASKED)
    assert statement_document(made)["sentences"] == ["Nothing was used in this window."]
    paid = statement_of(registry, "initech", "2026-06", ASKED, with_engine_costs=True)
    assert paid.days.total.engine.loaded_nano == paid.versions.total.engine.loaded_nano
    assert (paid.versions.total.engine.loaded_nano or 0) > 0


def test_the_page_needs_nothing_else_and_names_of_others_are_text_in_it(registry: Registry) -> None:
    at_ms = day_ms("2026-06-02", "day")
    registry.ledger.record(
        [usage_row("x", served_model="<img src=x>", started_at_ms=at_ms, finished_at_ms=at_ms + 1, cost_nano=9)]
    )
    page = page_of(made(registry))
    assert "&lt;img src=x&gt;" in page
    assert "<img" not in page
    assert not re.search(r"<script|<link|@import|url\(|https?://", page)
    assert "@page" in page
    assert "$0.0060" in page


def test_prices_that_held_in_the_month_are_listed(house: House) -> None:
    add = house.registry.tariffs.add
    add("tenant:acme", input_dollars="1", output_dollars="2", source="x", effective_from_ms=day_ms("2026-05-01", "d"))
    add("tenant:globex", input_dollars="5", output_dollars="5", source="x", effective_from_ms=day_ms("2026-05-01", "d"))
    add("base:tiny", input_dollars="3", output_dollars="4", source="x", effective_from_ms=day_ms("2026-07-01", "d"))
    listed = statement_document(statement_of(house.registry, "acme", "2026-06", ASKED))["tariffs"]
    assert [(one["scope"], one["input"]) for one in listed] == [("tenant:acme", "1")]


def test_a_month_that_runs_is_so_far_and_one_to_come_is_refused(registry: Registry) -> None:
    from registry.days import as_datetime

    this = f"{as_datetime(now_ms()):%Y-%m}"
    running = statement_of(registry, "acme", this, ASKED)
    assert (running.complete, "The month is not over" in page_of(running)) == (False, True)
    for month, said in (("2100-01", "has not begun"), ("June", "expected YYYY-MM"), ("2026-13", "expected YYYY-MM")):
        with pytest.raises(InvalidInput, match=said):
            statement_of(registry, "acme", month, ASKED)
    with pytest.raises(InvalidInput, match="_system, which nobody bills"):
        statement_of(registry, "_system", "2026-06", ASKED)
    with pytest.raises(NotFound, match="nobody"):
        statement_of(registry, "nobody", "2026-06", ASKED)
    assert month_ms("2026-02")[1] - month_ms("2026-02")[0] == 28 * DAY_MS
