"""Tenants as an operator sees and steers them, and a tenant's own page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from dashboard.gateway_api import GatewayApi
from dashboard.pages.tenants import budget_of, usage_of
from dashboard.sessions import Person
from gateway.admin_key import admin_key
from registry.days import day_number
from registry.db import now_ms
from registry.ledger.refusals import Refused
from tests.support.dashboard_parts import Visitor, seen
from tests.support.stack import Stack
from tests.support.usage_rows import usage_row

DAY_MS = 86_400_000
NOW_MS = 20_000 * DAY_MS + DAY_MS / 2


def day(name: str, **fields: object) -> dict[str, object]:
    counts = {"attempts": 3, "failed": 1, "refused": 2, "prompt_tokens": 10, "completion_tokens": 5, "unpriced": 0}
    return {"name": name, "cost_dollars": "0.25", **counts, **fields}


def budget(**fields: object) -> dict[str, object]:
    window = {"starts_at": "2026-11-01T00:00:00Z", "ends_at": "2026-12-01T00:00:00Z", "window": "monthly"}
    figures = {"scope": "tenant:acme", "unit": "dollars", "budget": "100", "spent": "80", "refused": 0}
    return {**window, **figures, **fields}


def test_usage_is_summed_and_days_without_any_are_zero() -> None:
    usage = usage_of([day("2024-10-03"), day("2024-10-04", cost_dollars=None, unpriced=3)], NOW_MS)
    assert (usage.requests, usage.failed, usage.refused, usage.tokens) == (6, 2, 4, 30)
    assert (usage.dollars, usage.unpriced) == (0.25, 3)
    assert usage.by_day.count('<th scope="row">') == 30


@pytest.mark.parametrize(("spent", "kind"), [("100", "bad"), ("80", "warn"), ("40", ""), ("120", "bad")], ids=str)
def test_a_budget_that_is_spent_faster_than_time_goes_by_warns(spent: str, kind: str) -> None:
    found = budget_of(budget(spent=spent), datetime(2026, 11, 16, tzinfo=UTC).timestamp() * 1000)
    assert (found.kind, round(found.due, 2)) == (kind, 0.5)


def status_of(stack: Stack, secret: str) -> int:
    return stack.http.get(f"{stack.url}/v1/models", headers={"authorization": f"Bearer {secret}"}).status_code


def test_tenants_are_listed_and_found_by_name(operator: Visitor, stack: Stack) -> None:
    text = seen(operator.page("/tenants"))
    assert re.search(r"acme [\d,]+ [\d,]+ [\d,]+ [\d,]+ tok", text)
    assert "Budgets of the tenant and its keys" in seen(operator.page("/tenants/~find?name=acme"))
    answer = operator.get("/tenants/~find?name=no/such")
    assert answer.status_code == 404


def test_usage_is_asked_for_of_the_tenants_on_the_page_alone(
    operator: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []
    get = GatewayApi.get

    async def told(api: GatewayApi, key: str, path: str, query: Mapping[str, Any], *rest: Any) -> Any:
        asked.append((path, dict(query)))
        return await get(api, key, path, query, *rest)

    monkeypatch.setattr(GatewayApi, "get", told)
    monkeypatch.setattr("dashboard.pages.tenants.ROWS", 1)
    text = seen(operator.page("/tenants?after=globew"))  # whoever else is there
    assert re.search(r"globex [\d,]+ [\d,]+ [\d,]+ [\d,]+ tok", text)
    (usage,) = [query for path, query in asked if path == "/usage"]
    assert usage["tenant"] == "globex"


def test_a_key_is_made_shown_once_rotated_and_revoked(operator: Visitor, stack: Stack) -> None:
    made = operator.post("/tenants/globex/keys", {"label": "web <shop>", "scope-inference": "1"})
    assert made.status_code == 200
    secret = re.search(r"sk-[\w-]{20,}", made.text)
    assert secret
    assert status_of(stack, secret[0]) == 200
    page = operator.page("/tenants/globex")
    assert secret[0] not in page
    assert "web <shop>" in seen(page)
    key = stack.house.registry.tenants.list_keys("globex")[-1].id
    rotated = operator.post(f"/tenants/globex/keys/{key}/rotate", {"hours": "2"})
    assert "works for 2 h more" in rotated.text
    assert "ends in 1 h" in seen(operator.page("/tenants/globex"))
    other = re.search(r"sk-[\w-]{20,}", rotated.text)
    assert other
    assert other[0] != secret[0]
    assert operator.post(f"/tenants/globex/keys/{key}/revoke").status_code == 303
    assert status_of(stack, secret[0]) == 401
    assert status_of(stack, other[0]) == 200
    newest = stack.house.registry.tenants.list_keys("globex")[-1].id
    operator.post(f"/tenants/globex/keys/{newest}/revoke")


def test_a_key_that_may_do_nothing_is_not_made(operator: Visitor) -> None:
    assert operator.post("/tenants/globex/keys", {"label": "x"}).status_code == 303
    assert "no scope is chosen" in seen(operator.page("/tenants/globex"))


def test_limits_are_set_all_at_once_and_a_wrong_one_is_told(operator: Visitor, stack: Stack) -> None:
    try:
        done = operator.post("/tenants/initech/limits", {"monthly_dollars": "$12.50", "concurrency": "1,000"})
        assert done.headers["location"] == "/tenants/initech#limits"
        text = seen(operator.page("/tenants/initech"))
        assert "Dollars a month (UTC) $12.50" in text
        assert "Requests at once 1,000" in text
        assert "monthly tenant:initech $0.00 of $12.50 · 0 %" in text
        operator.post("/tenants/initech/limits", {"concurrency": "many"})
        text = seen(operator.page("/tenants/initech"))
        assert "concurrency is 'many'. Give a whole number, or nothing for no limit." in text
        assert "Requests at once 1,000" in text
    finally:
        stack.house.registry.limits.clear("tenant:initech")


def test_a_tenant_is_given_a_weight_and_keeps_it_when_the_new_one_is_none(operator: Visitor, stack: Stack) -> None:
    tenants = stack.house.registry.tenants
    before = tenants.get("initech")
    try:
        done = operator.post("/tenants/initech/settings", {"weight": "7", "response_days": "3"})
        assert done.headers["location"] == "/tenants/initech#settings"
        text = seen(operator.page("/tenants/initech"))
        assert "Weight at full engines 7" in text
        assert (tenants.get("initech").weight, tenants.get("initech").response_days) == (7, 3)
        operator.post("/tenants/initech/settings", {"weight": "0", "response_days": "3"})
        assert "weight" in seen(operator.page("/tenants/initech"))
        assert tenants.get("initech").weight == 7
    finally:
        tenants.change("initech", {"weight": before.weight, "response_days": before.response_days})


def test_a_reader_sees_no_orders(visitor: Visitor, stack: Stack) -> None:
    visitor.become(Person("ada", "read", admin_key(stack.house.settings)))
    text = seen(visitor.page("/tenants/acme"))
    assert "New key" not in text
    assert "Revoke" not in text
    assert visitor.post("/tenants/acme/limits", {"concurrency": "1"}).status_code == 403


def test_a_tenant_sees_itself_and_no_page_of_operators(visitor: Visitor, stack: Stack) -> None:
    registry = stack.house.registry
    registry.refusals.add({Refused(day_number(now_ms()), "acme", "key-1", "", "", "model_not_found"): 1})
    registry.ledger.record([usage_row("1-1", started_at_ms=now_ms(), finished_at_ms=now_ms())])
    assert visitor.log_in(stack.house.keys["acme"]).status_code == 303
    text = seen(visitor.page("/"))
    assert "acme" in text
    assert "globex" not in text
    assert "acme/triage@1.0 tiny 1,024 tok" in text
    assert "(none)" not in text, "what was refused before it had an adapter has no tokens"
    assert visitor.get("/tenants").status_code == 403
    assert visitor.post("/tenants/acme/keys", {"scope-inference": "1"}).status_code == 403
