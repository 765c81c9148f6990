"""What a tenant sees of itself with its own key."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stack import BASE, Stack


def ask(stack: Stack, path: str = "", key: str = "acme", **query: str) -> Any:
    headers = {"authorization": f"Bearer {stack.house.keys[key]}"}
    return stack.http.get(f"{stack.url}/v1/account{path}", params=query, headers=headers)


def test_a_key_learns_whose_it_is(stack: Stack) -> None:
    found = ask(stack).json()
    assert (found["object"], found["tenant"]) == ("account", "acme")
    assert "inference" in found["scopes"]
    assert stack.http.get(f"{stack.url}/v1/account").status_code == 401


def test_usage_is_the_tenant_s_own_by_day_or_by_adapter(stack: Stack) -> None:
    for model, key in (("triage", "acme"), ("sentiment", "globex")):
        answer = stack.chat(model, key=key)
        assert answer.status_code == 200
        stack.house.usage_of(answer.headers["x-request-id"])
    lines = ask(stack, "/usage", by="adapter").json()["lines"]
    named = {line["name"].partition("/")[0] for line in lines}
    assert "acme" in named
    assert named <= {"acme", BASE, "(none)"}, "requests that were refused have no adapter"
    days = ask(stack, "/usage").json()
    assert days["by"] == "day"
    assert sum(line["requests"] for line in days["lines"]) == sum(line["requests"] for line in lines)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"by": "tenant"}, "by"),
        ({"tenant": "globex"}, "tenant"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2020-01-01"}, "from"),
        ({"from": "2026-01-02", "until": "2026-01-01"}, "until"),
    ],
    ids=str,
)
def test_a_query_that_makes_no_sense_is_refused_by_name(stack: Stack, query: dict[str, str], param: str) -> None:
    answer = ask(stack, "/usage", **query)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_budgets_are_those_of_the_tenant_its_keys_and_its_adapters(stack: Stack) -> None:
    limits = stack.house.registry.limits
    key = stack.house.registry.tenants.list_keys("acme")[0].id
    own = ["tenant:acme", f"key:{key}", "adapter:acme/triage"]
    scopes = [*own, "tenant:globex", "adapter:globex/sentiment"]
    for scope in scopes:
        limits.set(scope, {"daily_tokens": 1_000_000})
    try:
        stack.wait_revision()
        found = ask(stack, "/budgets").json()["data"]
        assert {one["scope"] for one in found} == set(own)
        assert {(one["unit"], one["budget"]) for one in found} == {("tokens", "1000000")}
        assert "here" not in found[0]
    finally:
        for scope in scopes:
            limits.clear(scope)
