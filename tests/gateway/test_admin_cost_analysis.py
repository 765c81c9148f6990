"""Scenario, forecasts and alarms through the admin API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry.days import DAY_MS
from registry.db import now_ms
from tests.support.admin_calls import Admin
from tests.support.fixtures import admin
from tests.support.stack import Stack, open_house, run_stack
from tests.support.usage_rows import usage_row

__all__ = ["admin"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A gateway with an engine, and a tenant whose day is usually a dollar, and yesterday was twenty."""
    today = now_ms() // DAY_MS
    with open_house(tmp_path_factory.mktemp("analysis")) as house, run_stack(house) as stack:
        house.tenant("acme")
        rows = []
        for day in range(today - 40, today):
            dollars = 20 if day == today - 1 else 1
            times = {"started_at_ms": day * DAY_MS, "finished_at_ms": day * DAY_MS + 1}
            rows.append(usage_row(f"on {day}", cost_nano=dollars * 10**9, completion_tokens=5 * dollars, **times))
        house.registry.ledger.record(rows)
        yield stack


def test_a_scenario_is_the_guides_case_unless_something_is_said(admin: Admin) -> None:
    found = admin.get("/cost/scenario", at="2026-11-29")
    assert found["baselines"]["ft:gpt-4o-mini"] == {"monthly_usd": 750, "training_usd": 50, "status": "retiring"}
    assert (found["break_even_requests"], found["verdict"]) == (2_666_667, "stay on the API")
    assert found["sentences"][0].startswith("Stay on the API: ft:gpt-4o-mini costs $750 a month")
    other = admin.get("/cost/scenario", baseline="gpt-4", gpu_hour="1.49", requests=30_000, at="2026-01-01")
    assert (list(other["baselines"]), other["verdict"]) == (["gpt-4"], "self-host")
    again = admin.get("/cost/scenario", at="2026-11-29", price_version=found["price_version"])
    assert again == found


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"cached_share": "2"}, "cached_share"),
        ({"gpu_hour": "1", "gpu_month": "1"}, "gpu_hour"),
        ({"baseline": "gpt-4,gpt-nothing"}, "baseline"),
        ({"requests": "0"}, "requests"),
        ({"at": "today"}, "at"),
        ({"price_version": "p9-00000000"}, "price_version"),
    ],
)
def test_what_a_scenario_cannot_mean_is_refused_by_its_name(admin: Admin, query: dict[str, str], param: str) -> None:
    status, error = admin.refused("GET", "/cost/scenario", params=query)
    assert (status in (400, 404), error["param"]) == (True, param)


def test_a_forecast_is_of_each_tenant_and_an_anomaly_has_its_cause(stack: Stack, admin: Admin) -> None:
    forecast = admin.get("/cost/forecast", baseline="ft:gpt-4o-mini")
    (acme,) = forecast["tenants"]
    assert (acme["tenant"], acme["tariff"]["days"]) == ("acme", 40)
    assert set(acme["baselines"]) == {"ft:gpt-4o-mini"}
    assert admin.get("/cost/forecast", most=1, baseline="ft:gpt-4o-mini") == forecast
    (jump,) = admin.get("/cost/anomalies", days=5)["anomalies"]
    assert (jump["tenant"], jump["amount"], jump["expected"]) == ("acme", "20", "1")
    assert {"was", "is", "cause"} <= set(jump["parts"][0])
    assert jump["sentence"].startswith("acme used $20 on ")
    assert admin.get("/cost/anomalies", tenant="acme")["anomalies"] == [jump]


def test_break_even_is_of_the_pool_and_of_a_tenant_with_what_follows_if_it_leaves(admin: Admin) -> None:
    found = admin.get("/cost/break-even", baseline="ft:gpt-4o-mini", gpu_month="2000", idle="by_share", tenant="acme")
    (acme,) = found["tenants"]
    assert (found["bill_dollars"], acme["loaded_dollars"], found["idle_policy"]) == ("2000", "2000", "by_share")
    assert found["if_it_leaves"] == {
        "tenant": "acme",
        "savings_dollars": "-2000",
        "more_dollars": {},
        "nobody_dollars": "2000",
    }
    assert any("divided by tokens" in one for one in found["sentences"])
    assert found["sentences"][0].startswith("acme's ")
    assert (
        admin.refused("GET", "/cost/break-even", params={"baseline": "gpt-4", "gpu_month": "0"})[1]["param"]
        == "gpu_month"
    )
    assert admin.refused("GET", "/cost/break-even")[1]["param"] == "gpu_month"


def test_break_even_by_reserved_shares_needs_them_and_takes_those_that_were_put(stack: Stack, admin: Admin) -> None:
    asked = {"gpu_month": "2000", "idle": "reserved"}
    status, error = admin.refused("GET", "/cost/break-even", params=asked)
    assert (status, error["param"]) == (400, "idle")
    stack.house.registry.idle_policies.put("reserved", {"acme": "0.25"}, actor="a test")
    assert admin.get("/cost/break-even", **asked)["idle_policy"] == "reserved"


def test_a_tenant_that_there_is_not_is_a_404(admin: Admin) -> None:
    for path in ("forecast", "anomalies"):
        assert admin.refused("GET", f"/cost/{path}", params={"tenant": "initech"})[0] == 404
    assert admin.refused("GET", "/cost/anomalies", params={"days": 0})[0] == 400
