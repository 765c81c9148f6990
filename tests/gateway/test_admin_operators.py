"""Operators have keys of their own: what each role may, and that one is over at once on every gateway."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace
from typing import Any

import pytest

from registry.days import DAY_MS
from registry.db import now_ms
from registry.errors import InvalidInput
from tests.support.admin_calls import Admin
from tests.support.cli_runner import Run, run
from tests.support.stack import Stack

__all__ = ["run"]


def made(admin: Admin, role: str, name: str = "ada") -> dict[str, Any]:
    key: dict[str, Any] = admin.post("/operators", name=name, role=role)
    assert key["in_force"]
    return key


def test_an_operators_key_opens_what_the_root_key_does_and_says_whose_it_is(admin: Admin) -> None:
    root = admin.get("/me")
    assert root == {"name": "root", "key_id": None, "role": "operate", "expires_at_ms": None}
    key = made(admin, "operate")
    assert admin.ask("GET", "/me", key=key["secret"]).json() == {**root, "name": "ada", "key_id": key["id"]}
    order = {"allow_unknown_fields": False}
    assert admin.ask("PATCH", "/tenants/acme", key=key["secret"], json=order).status_code == 200


def test_who_may_read_sees_everything_and_no_order_is_obeyed_or_its_body_read(stack: Stack, admin: Admin) -> None:
    reader = made(admin, "read")
    assert admin.ask("GET", "/tenants", key=reader["secret"]).status_code == 200
    routes = [route for route in stack.routes() if route.path.startswith("/admin/v1")]
    orders = [(method, route.path) for route in routes for method in sorted(route.methods - {"GET", "HEAD"})]
    assert len(orders) > 30
    for method, path in orders:
        path = re.sub(r"{.*?}", "tenant:acme", path.removeprefix("/admin/v1"))
        status, error = admin.refused(method, path, key=reader["secret"], content=b"{no json")
        assert (status, error["code"], error["type"]) == (403, "role_needed", "permission_error"), path
        assert "needs the role 'operate', and this key of 'ada' has 'read'" in error["message"]
    assert [one["name"] for one in admin.get("/tenants")["tenants"]].count("acme") == 1


@pytest.mark.parametrize("path", ["/metrics", "/docs", "/openapi.json"])
def test_any_operators_key_opens_what_only_shows_until_it_is_revoked(stack: Stack, admin: Admin, path: str) -> None:
    reader = made(admin, "read")
    headers = {"Authorization": f"Bearer {reader['secret']}"}
    assert stack.http.get(f"{stack.url}{path}", headers=headers).status_code == 200
    assert "engines" in stack.http.get(f"{stack.url}/readyz", headers=headers).json()
    assert admin.ask("DELETE", f"/operators/{reader['id']}").json()["in_force"]
    assert stack.http.get(f"{stack.url}{path}", headers=headers).status_code == 401
    assert "engines" not in stack.http.get(f"{stack.url}/readyz", headers=headers).json()


def test_a_revoked_key_is_refused_by_every_gateway_as_soon_as_the_order_is_answered(admin: Admin) -> None:
    key = made(admin, "operate")
    revoked = admin.ask("DELETE", f"/operators/{key['id']}", key=key["secret"]).json()
    assert revoked["in_force"]
    assert revoked["revoked_at_ms"] > 0
    status, error = admin.refused("GET", "/me", key=key["secret"])
    assert (status, error["code"]) == (401, "invalid_api_key")
    again = admin.ask("DELETE", f"/operators/{key['id']}").json()
    assert again["revoked_at_ms"] == revoked["revoked_at_ms"], "to revoke twice is no error and changes nothing"


def test_a_key_ends_on_its_day_whatever_else_happens(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    tomorrow = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86_400))
    key = admin.post("/operators", name="ada", role="read", expires=tomorrow)
    me = admin.ask("GET", "/me", key=key["secret"]).json()
    assert me["expires_at_ms"] == key["expires_at_ms"] > now_ms()
    end_s = key["expires_at_ms"] / 1000
    monkeypatch.setattr("gateway.api.admin.auth.time", SimpleNamespace(time=lambda: end_s - 1))
    assert admin.ask("GET", "/me", key=key["secret"]).status_code == 200
    monkeypatch.setattr("gateway.api.admin.auth.time", SimpleNamespace(time=lambda: end_s))
    status, error = admin.refused("GET", "/me", key=key["secret"])
    assert (status, error["code"]) == (401, "expired_api_key")


def test_an_operators_key_is_an_unknown_key_where_tenants_are_served(stack: Stack, admin: Admin) -> None:
    key = made(admin, "operate")["secret"]
    assert stack.chat("acme/triage", key=key).json()["error"]["code"] == "invalid_api_key"


def test_a_secret_is_shown_once_and_never_again(admin: Admin) -> None:
    secret = made(admin, "read")["secret"]
    assert secret.startswith("sk-operator-")
    shown = admin.ask("GET", "/operators").text + admin.ask("GET", f"/operators/{admin_ids(admin)[0]}").text
    assert secret not in shown
    assert "sha256" not in shown


def admin_ids(admin: Admin) -> list[str]:
    return [one["id"] for one in admin.get("/operators")["operators"]]


def test_keys_are_listed_in_pages_the_oldest_first(admin: Admin) -> None:
    new = [made(admin, "read", name)["id"] for name in ("ada", "bob", "ada")]
    ids = admin_ids(admin)
    assert ids[-3:] == new
    first = admin.get("/operators", limit=len(ids) - 1)
    assert first["next"] == ids[-2]
    assert [one["id"] for one in admin.get("/operators", after=first["next"])["operators"]] == ids[-1:]


@pytest.mark.parametrize(
    ("order", "param"),
    [
        ({"name": "root", "role": "read"}, "name"),
        ({"name": "Ada", "role": "read"}, "name"),
        ({"name": "ada", "role": "admin"}, "role"),
        ({"name": "ada", "role": "read", "expires": "2020-01-01"}, "expires"),
        ({"name": "ada", "role": "read", "expires": "tomorrow"}, "expires"),
        ({"name": "ada"}, "role"),
    ],
)
def test_a_bad_order_for_a_key_is_refused_by_its_field(admin: Admin, order: dict[str, str], param: str) -> None:
    before = admin_ids(admin)
    status, error = admin.refused("POST", "/operators", json=order)
    assert (status, error["param"]) == (400, param)
    assert admin_ids(admin) == before


def test_a_command_makes_lists_and_revokes_keys(run: Run) -> None:
    key = run("operators", "add", "ada", "--role", "read", "--expires", "2999-01-01", "--json").document
    assert key["secret"].startswith("sk-operator-")
    listed = run("operators", "list").out
    assert key["operator"]["id"] in listed
    assert "read" in listed
    assert key["secret"] not in listed
    assert run("operators", "revoke", key["operator"]["id"]).out == f"revoked {key['operator']['id']}\n"
    assert run("operators", "list", "--json").document[0]["revoked_at_ms"] > 0
    wrong = run("operators", "add", "ada", "--role", "write")
    assert (wrong.status, "choose from read, operate" in wrong.err) == (1, True)
    assert "--role is 'write'" in wrong.err


def test_the_registry_refuses_an_end_that_is_over(stack: Stack) -> None:
    with pytest.raises(InvalidInput, match="expires is over already"):
        stack.house.registry.operators.add("ada", "read", actor="test", expires_at_ms=now_ms() - DAY_MS)


def test_an_order_that_does_not_say_whose_it_is_is_of_the_operator_whose_key_it_has(stack: Stack, admin: Admin) -> None:
    ada = made(admin, "operate", "ada")["secret"]
    engine = {"url": stack.engine.url}
    assert admin.ask("POST", "/engines/drain", key=ada, json=engine).json()["actor"] == "ada"
    admin.ask("POST", "/engines/resume", key=ada, json=engine)
    assert admin.post("/engines/drain", **engine)["actor"] == "root"
    admin.post("/engines/resume", **engine)
    key = admin.ask("POST", "/keys", key=ada, json={"tenant": "acme", "label": "x", "scopes": ["inference"]}).json()[
        "id"
    ]
    admin.ask("DELETE", f"/keys/{key}", key=ada)
    newest = [(one["actor"], one["action"]) for one in admin.get("/actions", tenant="acme", limit=2)["actions"]]
    assert newest == [("ada", "key.revoked"), ("ada", "key.created")]
    admin.ask("DELETE", f"/keys/{key}", key=ada, params={"actor": "a program of hers"})
    assert admin.ask("DELETE", f"/keys/{key}", key=ada, params={"actor": ""}).status_code == 400
