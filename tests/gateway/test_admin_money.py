"""Limits, prices and budgets through the admin API: what is set is in force, and what cannot be meant is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.admin_key import admin_key
from registry.days import DAY_MS
from registry.db import now_ms
from registry.money import nano_to_dollars
from registry.names import SYSTEM
from tests.support.admin_calls import Admin
from tests.support.stack import Stack, open_house, run_stack
from tests.support.usage_rows import usage_row
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One engine and one gateway; every test makes a tenant of its own."""
    with open_house(tmp_path_factory.mktemp("money")) as house, run_stack(house, default_output_tokens=40) as stack:
        house.registry.tariffs.add("base:tiny", input_dollars="1", output_dollars="10", source="a test")
        yield stack


def put(admin: Admin, scope: str, **most: object) -> dict[str, object]:
    answer = admin.ask("PUT", f"/limits/{scope}", json=most)
    assert answer.status_code == 200, answer.text
    document: dict[str, object] = answer.json()
    return document


def tenant(stack: Stack, name: str) -> str:
    """A tenant with an adapter `triage`; the value is its scope."""
    stack.house.tenant(name)
    stack.house.publish(f"{name}/triage")
    stack.house.point(f"{name}/triage", "1.0")
    stack.wait_revision()
    stack.wait_resident(f"{name}/triage@1.0")
    return f"tenant:{name}"


def test_limits_are_set_one_by_one_shown_and_in_force_when_the_answer_comes(stack: Stack, admin: Admin) -> None:
    scope = tenant(stack, "setter")
    done = put(admin, scope, requests_per_minute=1, daily_dollars="2.50", warn_percent=80)
    changed_at_ms, etag = done.pop("changed_at_ms"), done.pop("etag")
    assert done == {
        "scope": scope,
        "requests_per_minute": 1,
        "tokens_per_minute": None,
        "concurrency": None,
        "daily_dollars": "2.5",
        "monthly_dollars": None,
        "daily_tokens": None,
        "monthly_tokens": None,
        "warn_percent": 80,
        "in_force": True,
    }
    assert [stack.chat("triage", "setter").status_code for _ in range(2)] == [200, 429]
    changed = admin.ask("PATCH", f"/limits/{scope}", json={"requests_per_minute": None, "concurrency": 7})
    assert (changed.status_code, changed.json()["requests_per_minute"]) == (200, None)
    shown = admin.get(f"/limits/{scope}")
    assert (shown["concurrency"], shown["daily_dollars"], shown["warn_percent"]) == (7, "2.5", 80)
    assert shown["changed_at_ms"] >= changed_at_ms
    assert shown in admin.get("/limits")["limits"]
    assert shown["etag"] != etag
    assert stack.chat("triage", "setter").status_code == 200
    cleared = admin.ask("DELETE", f"/limits/{scope}")
    assert (cleared.status_code, cleared.json()) == (200, {"scope": scope, "in_force": True})
    assert admin.refused("GET", f"/limits/{scope}")[0] == 404


def test_limits_that_are_put_replace_all_others_and_patched_ones_join_them(stack: Stack, admin: Admin) -> None:
    scope = tenant(stack, "replacer")
    put(admin, scope, requests_per_minute=9, daily_tokens=50, warn_percent=80)
    replaced = put(admin, scope, concurrency=3)
    assert [name for name, value in replaced.items() if value is None] == [
        "requests_per_minute",
        "tokens_per_minute",
        "daily_dollars",
        "monthly_dollars",
        "daily_tokens",
        "monthly_tokens",
        "warn_percent",
    ]
    patched = admin.ask("PATCH", f"/limits/{scope}", json={"daily_tokens": 70}).json()
    assert (patched["concurrency"], patched["daily_tokens"]) == (3, 70)
    assert admin.refused("PUT", f"/limits/{scope}", json={"warn_percent": 50})[1]["param"] == "warn_percent"
    assert admin.get(f"/limits/{scope}")["daily_tokens"] == 70, "nothing of a refused order is in force"


def test_limits_change_only_when_they_are_still_as_they_were_read(stack: Stack, admin: Admin) -> None:
    scope = tenant(stack, "matcher")

    def ask(method: str, name: str, etag: str, **most: object) -> int:
        options: dict[str, Any] = {"json": most} if most else {}
        key = admin_key(stack.house.settings)
        headers = {"Authorization": f"Bearer {key}", name: etag}
        url = f"{stack.url}/admin/v1/limits/{scope}"
        return stack.http.request(method, url, headers=headers, **options).status_code

    assert ask("PATCH", "If-Match", "*", concurrency=1) == 412
    assert [ask("PUT", "If-None-Match", "*", concurrency=1) for _ in range(2)] == [200, 412]
    answer = admin.ask("GET", f"/limits/{scope}")
    read = answer.headers["etag"]
    assert read.strip('"') == answer.json()["etag"]
    assert ask("PATCH", "If-Match", read, daily_tokens=5) == 200
    assert ask("PUT", "If-Match", read, concurrency=2) == 412
    assert ask("DELETE", "If-Match", read) == 412
    assert ask("DELETE", "If-Match", admin.get(f"/limits/{scope}")["etag"]) == 200


def test_every_mistake_of_an_order_is_named_at_once_with_its_value(stack: Stack, admin: Admin) -> None:
    tenant(stack, "wrong")
    body = {"concurrency": "4", "daily_dollars": "much", "daily_tokens": -1, "warn_percent": 101, "colour": 1}
    status, error = admin.refused("PATCH", "/limits/tenant:wrong", json=body)
    assert (status, error["code"], error["param"]) == (400, "invalid_request", "concurrency")
    assert error["message"] == (
        "concurrency is '4'; expected a whole number. "
        "daily_dollars is 'much'; expected dollars such as 0.30, not negative, with up to 9 decimals. "
        "daily_tokens is -1; expected 0 or more. "
        "warn_percent is 101; expected 100 or less. "
        "colour is no field of this order; it takes requests_per_minute, tokens_per_minute, concurrency, "
        "daily_dollars, monthly_dollars, daily_tokens, monthly_tokens, warn_percent."
    )
    price = {"scope": "base:tiny", "input": "", "cached_input": "x", "effective_from": "soon"}
    said = admin.refused("POST", "/tariffs", json=price)[1]["message"]
    for each in ("input is ''; exp", "cached_input is 'x'; exp", "effective_from is 'soon'; exp", "output is missing;"):
        assert each in said
    named = admin.refused("POST", "/tenants", json={"name": "A B", "actor": "", "allow_unknown_fields": 1})[1]
    assert named["param"] == "name"
    for each in ("name is 'A B'; a name has 1 to", "actor is ''; expected 1 char", "allow_unknown_fields is 1; exp"):
        assert each in named["message"]
    others: tuple[object, ...] = ([], "x", 5)
    for other in others:
        assert "send a JSON object with requests_per_" in admin.refused("PATCH", "/limits/a", json=other)[1]["message"]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'{"concurrency": 1, "concurrency": 2}', "concurrency is given twice"),
        (b'{"concurrency": NaN}', "NaN"),
        (b'{"concurrency": 1e999}', "1e999"),
        (b'{"concurrency": 1', "no JSON"),
        (b"\xff", "no UTF-8"),
        (b"[" * 100_000, "nested too deep"),
        (b"", "The body is missing; send a JSON object"),
    ],
)
def test_an_order_that_parsers_read_differently_is_refused(stack: Stack, admin: Admin, raw: bytes, says: str) -> None:
    if "strict" not in stack.house.keys:
        tenant(stack, "strict")
    status, error = admin.refused("PUT", "/limits/tenant:strict", content=raw)
    assert (status, says in error["message"]) == (400, True), error


def test_an_order_is_json_whatever_its_content_type_says(stack: Stack, admin: Admin) -> None:
    scope = tenant(stack, "typed")
    assert admin.ask("PUT", f"/limits/{scope}", content=b'{"concurrency": 5}').json()["concurrency"] == 5


def test_a_scope_with_a_slash_is_one_scope(stack: Stack, admin: Admin) -> None:
    tenant(stack, "slash")
    for written in ("adapter:slash/triage", "adapter%3Aslash%2Ftriage"):
        assert put(admin, written, monthly_tokens=9)["scope"] == "adapter:slash/triage"
    admin.ask("DELETE", "/limits/adapter:slash/triage")


def test_limits_come_in_pages(stack: Stack, admin: Admin) -> None:
    scopes = [tenant(stack, name) for name in ("page-a", "page-b", "page-c")]
    for scope in scopes:
        put(admin, scope, monthly_tokens=1_000_000)
    for path, rows in (("/limits", "limits"),):
        found, after = [], None
        while True:
            page = admin.get(path, limit=1, **({"after": after} if after else {}))
            found += [one["scope"] for one in page[rows]]
            after = page["next"]
            if after is None:
                break
        assert [scope for scope in found if scope in scopes] == scopes, path


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({}, "limits", "the body names no limit; name at least one of requests_per_minute"),
        ({"daily_dollars": "much"}, "daily_dollars", "daily_dollars is 'much'; expected dollars such as 0.30"),
        ({"daily_dollars": "-1"}, "daily_dollars", "not negative"),
        ({"daily_dollars": "0.0000000001"}, "daily_dollars", "up to 9 decimals"),
        ({"daily_dollars": "NaN"}, "daily_dollars", "expected dollars"),
        ({"monthly_dollars": 2.5}, "monthly_dollars", "monthly_dollars is 2.5; expected text."),
        ({"concurrency": -1}, "concurrency", "concurrency is -1; expected 0 or more."),
        ({"concurrency": True}, "concurrency", "concurrency is true; expected a whole number."),
        ({"concurrency": "4"}, "concurrency", "concurrency is '4'; expected a whole number."),
        ({"concurrency": 2**63}, "concurrency", "concurrency is 9223372036854775808; expected"),
        ({"daily_nano": 5}, "daily_nano", "daily_nano is no field of this order; did you mean daily_"),
        ({"daily_tokens": 5, "warn_percent": 0}, "warn_percent", "warn_percent is 0; expected 1 or more."),
        ({"concurrency": 5, "warn_percent": 80}, "warn_percent", "has no budget to warn of; set one with it"),
        ({"concurrency": None}, "limits", "would have no limit left"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused_and_nothing_is_set(
    stack: Stack, admin: Admin, body: dict[str, object], param: str, says: str
) -> None:
    if "strict" not in stack.house.keys:
        tenant(stack, "strict")
    status, error = admin.refused("PUT", "/limits/tenant:strict", json=body)
    assert (status, error["param"]) == (400, param)
    assert says in error["message"]
    assert admin.refused("GET", "/limits/tenant:strict")[0] == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_scope_that_does_not_exist_is_a_404(admin: Admin, method: str) -> None:
    options = {"json": {"concurrency": 1}} if method == "PUT" else {}
    for scope in ("tenant:nobody", "key:none", "adapter:nobody/nothing"):
        status, error = admin.refused(method, f"/limits/{scope}", **options)
        assert (status, error["code"], error["param"]) == (404, "not_found", "scope")
        assert "switchyard" in error["message"]


def test_what_is_no_scope_is_told_how_scopes_are_written(admin: Admin) -> None:
    status, error = admin.refused("PUT", "/limits/acme", json={"concurrency": 1})
    assert (status, error["param"]) == (400, "scope")
    assert "expected tenant:NAME or key:ID or adapter:tenant/adapter" in error["message"]


def test_a_tenant_may_neither_see_nor_change_money(stack: Stack, admin: Admin) -> None:
    scope = tenant(stack, "thief")
    put(admin, scope, daily_tokens=1_000)
    calls = {
        ("GET", "/limits"): None,
        ("GET", f"/limits/{scope}"): None,
        ("PUT", f"/limits/{scope}"): {"daily_tokens": 10**9},
        ("DELETE", f"/limits/{scope}"): None,
        ("GET", "/tariffs"): None,
        ("POST", "/tariffs"): {"scope": scope, "input": "0", "output": "0", "source": "mine"},
    }
    for (method, path), body in calls.items():
        status, error = admin.refused(method, path, key=stack.house.keys["thief"], json=body)
        assert (status, error["code"]) == (403, "not_an_admin_key"), path
        status, error = admin.refused(method, path, key="sk-admin-guess", json=body)
        assert (status, error["code"]) == (401, "invalid_api_key"), path
    assert admin.get(f"/limits/{scope}")["daily_tokens"] == 1_000


def test_a_price_is_added_and_shown_with_the_one_before_it(stack: Stack, admin: Admin) -> None:
    scope = tenant(stack, "priced")
    assert admin.get("/tariffs", scope=scope) == {"tariffs": [], "next": None}
    first = admin.post(
        "/tariffs", scope=scope, input="0.30", output="1.20", effective_from="2026-01-01", source="the price list"
    )
    added_at_ms = first.pop("added_at_ms")
    assert now_ms() - DAY_MS < added_at_ms <= now_ms()
    assert first == {
        "scope": scope,
        "effective_from_ms": 1_767_225_600_000,
        "state": "in force",
        "input": "0.3",
        "cached_input": "0.3",
        "output": "1.2",
        "source": "the price list",
    }
    now = admin.post("/tariffs", scope=scope, input="0.000000001", cached_input="0", output="2", source="x")
    assert (now["input"], now["cached_input"], now["state"]) == ("0.000000001", "0", "in force")
    later = admin.post("/tariffs", scope=scope, input="3", output="3", effective_from="2100-01-01", source="x")
    assert later["state"] == "to come"
    listed = admin.get("/tariffs", scope=scope)["tariffs"]
    assert [(one["effective_from_ms"], one["state"]) for one in listed] == [
        (first["effective_from_ms"], "over"),
        (now["effective_from_ms"], "in force"),
        (later["effective_from_ms"], "to come"),
    ]
    page = admin.get("/tariffs", scope=scope, limit=2)
    assert page["tariffs"] == listed[:2]
    assert admin.get("/tariffs", scope=scope, limit=2, after=page["next"]) == {"tariffs": listed[2:], "next": None}
    assert {one["scope"] for one in admin.get("/tariffs")["tariffs"]} >= {"base:tiny", scope}


@pytest.mark.parametrize(
    ("change", "status", "param", "says"),
    [
        ({"scope": "tenant:nobody"}, 404, "scope", "there is no tenant 'nobody'; `switchyard tenants list` shows them"),
        ({"scope": "key:k"}, 400, "scope", "expected base:NAME or tenant:NAME or adapter:tenant/adapter"),
        ({"input": "cheap"}, 400, "input", "input is 'cheap'; expected dollars such as 0.30"),
        ({"output": "-1"}, 400, "output", "not negative"),
        ({"output": 1.2}, 400, "output", "output is 1.2; expected text."),
        ({"cached_input": "1e-12"}, 400, "cached_input", "up to 9 decimals"),
        ({"effective_from": "soon"}, 400, "effective_from", "expected YYYY-MM-DD"),
        ({"effective_from": "2020-01-01"}, 409, "effective_from", "begins now or later"),
        ({"source": " "}, 400, "source", "say where the figure is from"),
        ({"colour": "red"}, 400, "colour", "colour is no field of this order; it takes scope, input"),
    ],
)
def test_prices_that_cannot_be_meant_are_refused(
    admin: Admin, change: dict[str, object], status: int, param: str, says: str
) -> None:
    order = {"scope": "base:tiny", "input": "1", "output": "1", "source": "a test", **change}
    refused, error = admin.refused("POST", "/tariffs", json=order)
    assert (refused, error["param"]) == (status, param)
    assert says in error["message"]
    assert len(admin.get("/tariffs", scope="base:tiny")["tariffs"]) == 1


def test_prices_of_what_does_not_exist_are_a_404_and_a_page_that_nobody_made_is_refused(admin: Admin) -> None:
    assert admin.refused("GET", "/tariffs", params={"scope": "tenant:nobody"})[0] == 404
    assert admin.refused("GET", "/tariffs", params={"scope": "nobody"})[0] == 400
    status, error = admin.refused("GET", "/tariffs", params={"after": "base:tiny"})
    assert (status, error["param"]) == (400, "after")


def test_a_budget_is_shown_with_what_is_spent_and_what_this_worker_counts(stack: Stack, admin: Admin) -> None:
    scope = tenant(stack, "saver")
    put(admin, scope, daily_dollars="1", monthly_tokens=100_000, warn_percent=50)
    used = stack.chat("triage", "saver").json()["usage"]

    def budgets() -> list[dict[str, Any]] | None:
        answer = admin.ask("GET", "/budgets").json()
        assert answer["next"] is None
        shown = [one for one in answer["budgets"] if one["scope"] == scope]
        return shown if all(one["here"]["spent"] == one["here"]["spent_in_ledger"] != "0" for one in shown) else None

    daily, monthly = wait_until("the ledger to have it", budgets)
    cost = nano_to_dollars(used["prompt_tokens"] * 1_000 + used["completion_tokens"] * 10_000)
    assert (daily["window"], daily["unit"], daily["budget"], daily["spent"]) == ("daily", "dollars", "1", cost)
    assert (daily["percent"], daily["here"]["held"], daily["here"]["allowed"]) == (0, "0", "1")
    assert daily["ends_at"] > daily["starts_at"]
    tokens = str(used["prompt_tokens"] + used["completion_tokens"])
    assert (monthly["window"], monthly["unit"], monthly["budget"], monthly["spent"]) == (
        "monthly",
        "tokens",
        "100000",
        tokens,
    )


def test_a_client_reads_in_a_header_that_a_budget_is_nearly_spent(stack: Stack, admin: Admin) -> None:
    scope = tenant(stack, "warned")
    put(admin, scope, daily_tokens=2_000, warn_percent=1)
    first = stack.chat("triage", "warned", max_tokens=20)
    assert "x-switchyard-budget-warning" not in first.headers

    def told() -> str:
        return str(stack.chat("triage", "warned", max_tokens=1).headers.get("x-switchyard-budget-warning", ""))

    assert wait_until("the warning", told).startswith(f"{scope} daily token budget ")


def test_archives_of_attempts_are_listed_by_day_a_page_at_a_time(stack: Stack, admin: Admin) -> None:
    registry = stack.house.registry
    registry.ledger.record(
        usage_row(f"old-{day}", tenant=SYSTEM, started_at_ms=day * DAY_MS, finished_at_ms=day * DAY_MS)
        for day in (3, 5)
    )
    made = list(registry.archives.archive(9 * DAY_MS))
    first = admin.ask("GET", "/ledger/archives?limit=1").json()
    (shown,) = first["archives"]
    assert (shown["day"], shown["attempts"], shown["restored_at_ms"]) == ("1970-01-04", 1, None)
    rest = admin.ask("GET", f"/ledger/archives?after={first['next']}").json()
    assert [one["name"] for one in rest["archives"]] == [made[1].name]
    assert rest["next"] is None
