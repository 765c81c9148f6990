"""Every order at `/admin/v1` is in the audit log: who, from where, what, before, after, and what came of it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gateway.api.admin import auditing
from registry.audit.store import Wanted
from tests.support.admin_calls import Admin
from tests.support.stack import Stack


@pytest.fixture
def seen(admin: Admin) -> int:
    """The newest order before the test."""
    return next((one.id for one in admin.house.registry.audit.page(Wanted(), None, 1)), 0)


def orders(admin: Admin, seen: int) -> list[dict[str, Any]]:
    """Those since then, the oldest first."""
    return [one for one in reversed(admin.get("/audit")["entries"]) if one["id"] > seen]


def test_an_order_has_its_operator_address_request_and_what_it_changed(admin: Admin, seen: int) -> None:
    key = admin.post("/operators", name="ada", role="operate")
    answer = admin.ask("PATCH", "/tenants/acme", key=key["secret"], json={"response_days": 7})
    made, changed = orders(admin, seen)
    assert (made["actor"], made["key_id"], made["role"]) == ("root", None, "operate")
    assert key["secret"] not in str(made)
    assert changed == {
        "id": changed["id"],
        "at_ms": changed["at_ms"],
        "actor": "ada",
        "via": "api",
        "key_id": key["id"],
        "role": "operate",
        "address": "127.0.0.1",
        "method": "PATCH",
        "route": "/admin/v1/tenants/{tenant}",
        "path": "/admin/v1/tenants/acme",
        "object": "acme",
        "tenant": "acme",
        "request_id": answer.headers["x-request-id"],
        "body": {"response_days": 7},
        "outcome": "done",
        "status": 200,
        "error": None,
        "ended_at_ms": changed["ended_at_ms"],
        "changes": [
            {
                "table": "tenants",
                "key": "acme",
                "before": {"response_days": None},
                "after": {"response_days": 7},
                "statements": [],
            }
        ],
        "rows_untold": 0,
    }
    assert admin.get(f"/audit/{changed['id']}") == changed
    admin.ask("PATCH", "/tenants/acme", json={"response_days": None})


def test_every_route_that_is_no_get_leaves_an_order_whatever_comes_of_it(stack: Stack, admin: Admin, seen: int) -> None:
    routes = [route for route in stack.routes() if route.path.startswith("/admin/v1")]
    asked = [(method, route.path) for route in routes for method in sorted(route.methods - {"GET", "HEAD"})]
    for method, path in asked:
        admin.refused(method, re.sub(r"{.*?}", "nobody", path.removeprefix("/admin/v1")), params={"nmae": "foo"})
    told = admin.get("/audit", limit=500)["entries"]
    of_now = [(one["method"], one["route"], one["outcome"], one["status"]) for one in told if one["id"] > seen]
    assert of_now == [(method, path, "refused", 400) for method, path in reversed(asked)]
    assert "'nmae' is no query parameter" in told[0]["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "about"),
    [
        ("POST", "/swaps", {"version": "acme/triage@9.9"}, 404, "acme/triage@9.9"),
        ("POST", "/tenants", {"name": "acme"}, 409, "acme"),
        ("POST", "/tenants", {"nmae": "acme"}, 400, ""),
        ("DELETE", "/keys/key-none", None, 404, "key-none"),
        ("POST", "/experiments/999999/stop", {}, 404, "experiments/999999"),
        ("PUT", "/adapters/acme/triage/gates/production", {}, 400, "acme/triage@production"),
        ("PATCH", "/limits/tenant:acme", {"concurrency": -1}, 400, "tenant:acme"),
        ("POST", "/engines/drain", {"url": "http://nowhere:1"}, 404, "http://nowhere:1"),
    ],
)  # fmt: skip
def test_what_was_refused_is_there_as_refused_with_the_sentence_that_its_caller_got(
    admin: Admin, seen: int, method: str, path: str, body: Any, status: int, about: str
) -> None:
    got, error = admin.refused(method, path, **({} if body is None else {"json": body}))
    (order,) = orders(admin, seen)
    assert (got, order["status"], order["outcome"], order["object"]) == (status, status, "refused", about)
    assert order["error"] == error["message"]
    assert order["changes"] == []


def test_a_reader_who_orders_is_there_by_name_and_his_body_was_not_read(admin: Admin, seen: int) -> None:
    reader = admin.post("/operators", name="bob", role="read")
    admin.refused("POST", "/tenants", key=reader["secret"], json={"name": "umbrella"})
    order = orders(admin, seen)[-1]
    assert (order["actor"], order["role"], order["outcome"], order["status"]) == ("bob", "read", "refused", 403)
    assert order["body"] == {}
    assert "needs the role 'operate'" in order["error"]


def test_who_has_no_operators_key_writes_nothing_into_the_log(admin: Admin, seen: int) -> None:
    for key in ("sk-guess", admin.house.keys["acme"]):
        admin.refused("POST", "/tenants", key=key, json={"name": "umbrella"})
    assert orders(admin, seen) == []


def test_a_body_that_is_no_json_or_too_long_is_not_kept(
    admin: Admin, seen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.refused("POST", "/tenants", content=b'{"secret": "hunter2"')
    assert orders(admin, seen)[-1]["body"] == {"unreadable": "20 bytes"}
    monkeypatch.setattr(auditing, "MOST_BODY_BYTES", 1_000)
    long = b'{"name": "' + b"x" * 2_000 + b'"}'
    for sent in (long, iter([long])):
        status, error = admin.refused("POST", "/tenants", content=sent)
        assert (status, error["code"]) == (413, "payload_too_large")


def test_an_order_that_breaks_is_there_as_failed(admin: Admin, seen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("the disk of sk-operator-0123456789")

    monkeypatch.setattr(type(admin.house.registry.tenants), "create", broken)
    answer = admin.ask("POST", "/tenants", json={"name": "umbrella"})
    assert (answer.json()["error"]["code"], answer.headers["connection"]) == ("internal_error", "close")
    (order,) = orders(admin, seen)
    assert (order["outcome"], order["status"], order["error"]) == ("failed", 500, "OSError")


def test_the_list_is_paged_and_filtered_and_the_log_is_proven(admin: Admin, seen: int) -> None:
    for tenant in ("acme", "globex", "acme"):
        admin.ask("PATCH", f"/tenants/{tenant}", json={"allow_unknown_fields": False})
    ids = [one["id"] for one in orders(admin, seen)]
    page = admin.get("/audit", limit=2)
    assert [one["id"] for one in page["entries"]] == [ids[2], ids[1]]
    assert admin.get("/audit", limit=1, after=page["next"])["entries"][0]["id"] == ids[0]
    of_globex = admin.get("/audit", tenant="globex")["entries"]
    assert of_globex[0]["id"] == ids[1]
    assert {one["tenant"] for one in of_globex} == {"globex"}
    assert admin.get("/audit", actor="nobody")["entries"] == []
    assert admin.get("/audit", since_ms=10**15)["entries"] == []
    assert admin.refused("GET", "/audit/999999999")[0] == 404
    proof = admin.get("/audit/proof")
    assert proof["faults"] == []
    assert proof["lines"] >= 6


def test_a_tenants_own_orders_are_no_operators(stack: Stack, admin: Admin, seen: int) -> None:
    headers = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    sent = stack.http.post(
        f"{stack.url}/v1/files",
        headers=headers,
        files={"file": ("a.jsonl", b"{}\n")},
        data={"purpose": "fine-tune"},
    )
    assert sent.status_code == 200
    assert orders(admin, seen) == []
