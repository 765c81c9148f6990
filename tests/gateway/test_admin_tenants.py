"""Tenants, keys, model names and aliases through the admin API, with the command line's rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from registry.service import Registry
from registry.tenants.store import hash_secret
from tests.support.admin_calls import Admin
from tests.support.cli_runner import Run, run
from tests.support.stack import Stack, open_house, run_stack
from tests.support.waiting import wait_until

__all__ = ["run"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One engine, one gateway; acme has triage@1.0 in production and 1.1, globex an adapter of its own."""
    with open_house(tmp_path_factory.mktemp("tenants")) as house:
        for name, versions in (("acme/triage", 2), ("globex/mood", 1)):
            house.tenant(name.partition("/")[0])
            for _ in range(versions):
                house.publish(name)
            house.point(name, "1.0")
        with run_stack(house) as stack:
            yield stack


@pytest.fixture
def registry(stack: Stack) -> Registry:
    return stack.house.registry


def test_a_read_that_has_not_changed_is_a_304_and_no_write_can_insist_on_it(stack: Stack) -> None:
    url = f"{stack.url}/admin/v1/tenants"
    first = stack.http.get(url, headers=stack.operator)
    etag = first.headers["etag"]
    assert etag.startswith('W/"')
    again = stack.http.get(url, headers={**stack.operator, "If-None-Match": f'"other", {etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    stack.house.registry.tenants.create("newcomer")
    changed = stack.http.get(url, headers={**stack.operator, "If-None-Match": etag})
    assert (changed.status_code, changed.headers["etag"] != etag) == (200, True)
    own = stack.http.get(f"{url}/newcomer", headers=stack.operator)
    assert own.headers["etag"] == f'"{own.json()["etag"]}"', "that of its settings, as before"
    insists = {**stack.operator, "If-Match": changed.headers["etag"]}
    assert stack.http.patch(f"{url}/newcomer", json={"weight": 2}, headers=insists).status_code == 412


def chat(stack: Stack, secret: str, model: str, **more: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, **more}
    headers = {"Authorization": f"Bearer {secret}"}
    return stack.http.post(f"{stack.url}/v1/chat/completions", json=body, headers=headers)


def test_a_customer_is_set_up_from_nothing_and_served_at_once(stack: Stack, admin: Admin) -> None:
    made = admin.ask("POST", "/tenants", json={"name": "initech", "actor": "portal"})
    assert (made.status_code, made.json()["in_force"]) == (201, True)
    key = admin.ask("POST", "/keys", json={"tenant": "initech", "label": "ci", "scopes": ["base"]})
    assert key.status_code == 201
    assert key.headers["cache-control"] == "no-store"
    mapped = admin.ask("PUT", "/tenants/initech/models/ft:gpt-4o-mini:initech::1/x", json={"target": "tiny"})
    assert (mapped.status_code, mapped.json()["external"]) == (200, "ft:gpt-4o-mini:initech::1/x")
    secret = key.json()["secret"]
    assert chat(stack, secret, "ft:gpt-4o-mini:initech::1/x").status_code == 200
    assert chat(stack, secret, "tiny", colour=1).status_code == 400
    changed = admin.ask("PATCH", "/tenants/initech", json={"allow_unknown_fields": True})
    assert changed.json()["allow_unknown_fields"] is True
    assert chat(stack, secret, "tiny", colour=1).status_code == 200
    revoked = admin.ask("DELETE", f"/keys/{key.json()['id']}")
    assert (revoked.status_code, revoked.json()["in_force"]) == (200, True)
    assert chat(stack, secret, "tiny").status_code == 401
    assert admin.ask("DELETE", f"/keys/{key.json()['id']}").json()["revoked_at_ms"] == revoked.json()["revoked_at_ms"]


def test_a_secret_is_shown_once_and_a_hash_never(admin: Admin) -> None:
    made = admin.ask("POST", "/keys", json={"tenant": "acme"}).json()
    others = [
        admin.ask("GET", path).text
        for path in ("/keys", f"/keys/{made['id']}", "/actions", "/tenants/acme", "/keys?tenant=acme&limit=1")
    ]
    others.append(admin.ask("DELETE", f"/keys/{made['id']}").text)
    for text in others:
        assert made["secret"] not in text
        assert hash_secret(made["secret"]).hex() not in text
    assert hash_secret(made["secret"]).hex() not in json.dumps(made)


def test_who_changed_what_is_written_down_by_api_and_command_line_alike(
    admin: Admin, run: Run, monkeypatch: pytest.MonkeyPatch, stack: Stack
) -> None:
    admin.ask("POST", "/tenants", json={"name": "hooli", "actor": "portal"})
    admin.ask("PUT", "/tenants/hooli/models/gpt-4o", json={"target": "tiny", "actor": "terraform"})
    admin.ask("DELETE", "/tenants/hooli/models/gpt-4o", params={"actor": "carol"})
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(stack.house.settings.state_dir))
    monkeypatch.setattr("getpass.getuser", lambda: "dave")
    assert run("keys", "create", "hooli", "--label", "by hand").status == 0
    found = admin.get("/actions", tenant="hooli")["actions"]
    assert [(one["actor"], one["action"]) for one in found] == [
        ("dave", "key.created"),
        ("carol", "model.unmapped"),
        ("terraform", "model.mapped"),
        ("portal", "tenant.created"),
    ]
    assert found[1]["detail"] == {"before": "tiny"}
    first = admin.get("/actions", tenant="hooli", limit=3)
    rest = admin.get("/actions", tenant="hooli", limit=3, after=first["next"])
    assert first["actions"] + rest["actions"] == found
    assert rest["next"] is None


def test_nobody_rewrites_who_did_what(admin: Admin, registry: Registry) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    admin.ask("POST", "/keys", json={"tenant": "acme"})
    for statement in ("UPDATE admin_actions SET actor = 'nobody'", "DELETE FROM admin_actions"):
        with pytest.raises(DBAPIError, match="append-only"), registry.db.write() as session:
            session.execute(text(statement))


def test_a_change_may_insist_on_what_was_read(admin: Admin) -> None:
    admin.ask("POST", "/tenants", json={"name": "umbrella"})
    read = admin.ask("GET", "/tenants/umbrella")

    def change(allow: bool) -> httpx.Response:
        headers = _with(admin, {"If-Match": read.headers["etag"]})
        url = f"{admin.url}/admin/v1/tenants/umbrella"
        return admin.http.patch(url, json={"allow_unknown_fields": allow}, headers=headers)

    assert read.headers["etag"] == f'"{read.json()["etag"]}"'
    first = change(True)
    assert first.status_code == 200
    second = change(False)
    assert (second.status_code, second.json()["error"]["code"]) == (412, "stale")
    assert admin.get("/tenants/umbrella")["allow_unknown_fields"] is True


def test_a_mapping_is_made_changed_and_deleted_only_as_it_was_read(admin: Admin) -> None:
    url = f"{admin.url}/admin/v1/tenants/acme/models/gpt-4o"

    def put(target: str, **headers: str) -> httpx.Response:
        return admin.http.put(url, json={"target": target}, headers=_with(admin, headers))

    new, anything = {"If-None-Match": "*"}, {"If-Match": "*"}
    assert put("triage", **anything).status_code == 412
    made = put("triage", **new)
    assert made.status_code == 200
    assert put("triage@1.1", **new).status_code == 412
    assert put("triage@1.1", **{"If-Match": f'"other", {made.headers["etag"]}'}).status_code == 200
    gone = admin.http.delete(url, headers=_with(admin, {"If-Match": made.headers["etag"]}))
    assert gone.status_code == 412
    assert admin.get("/tenants/acme/models/gpt-4o")["target"] == "triage@1.1"
    assert admin.http.delete(url, headers=_with(admin, anything)).json()["target"] == "triage@1.1"
    assert admin.refused("GET", "/tenants/acme/models/gpt-4o")[0] == 404


@pytest.mark.parametrize(
    ("target", "status", "says"),
    [
        ("globex/mood", 400, "belongs to tenant 'globex', not to 'acme'"),
        ("nothing", 404, "no adapter 'acme/nothing'"),
        ("triage@9.9", 404, "there is no acme/triage@9.9"),
        ("triage@canary", 404, "there is no acme/triage@canary"),
        ("Tri age", 400, "is not a model reference"),
        ("", 400, "is not a model reference"),
    ],
)
def test_a_name_stands_only_for_what_there_is_by_api_and_command_line(
    admin: Admin, run: Run, monkeypatch: pytest.MonkeyPatch, stack: Stack, target: str, status: int, says: str
) -> None:
    code, error = admin.refused("PUT", "/tenants/acme/models/gpt-4", json={"target": target})
    assert (code, says in error["message"]) == (status, True), error
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(stack.house.settings.state_dir))
    refused = run("tenants", "map", "acme", "gpt-4", target)
    assert refused.status == 1
    assert says in refused.err


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/tenants", {"name": "acme"}, 409),
        ("POST", "/tenants", {"name": "Acme Inc"}, 400),
        ("POST", "/tenants", {"name": "a", "colour": 1}, 400),
        ("POST", "/tenants", {"name": "a", "allow_unknown_fields": "yes"}, 400),
        ("POST", "/tenants", {"name": "a", "actor": "x\u0000"}, 400),
        ("POST", "/tenants", {"name": "\ud800"}, 400),
        ("PATCH", "/tenants/nobody", {"allow_unknown_fields": True}, 404),
        ("PATCH", "/tenants/acme", {}, 400),
        ("PATCH", "/tenants/acme", {"allow_unknown_fields": None}, 400),
        ("POST", "/keys", {"tenant": "nobody"}, 404),
        ("POST", "/keys", {"tenant": "acme", "scopes": []}, 400),
        ("POST", "/keys", {"tenant": "acme", "scopes": ["admin"]}, 400),
        ("POST", "/keys", {"tenant": "acme", "label": "x" * 101}, 400),
        ("POST", "/keys", {"tenant": "acme", "label": "a\nb"}, 400),
        ("POST", "/keys", {"tenant": "acme", "secret": "sk-mine"}, 400),
        ("GET", "/keys?tenant=nobody", None, 404),
        ("GET", "/keys?after=key-0", None, 404),
        ("GET", "/keys?limit=0", None, 400),
        ("DELETE", "/keys/key-0", None, 404),
        ("GET", "/tenants/nobody/models", None, 404),
        ("PUT", f"/tenants/acme/models/{'x' * 257}", {"target": "tiny"}, 400),
        ("PUT", "/tenants/acme/models/a%07b", {"target": "tiny"}, 400),
        ("PUT", "/tenants/nobody/models/gpt", {"target": "tiny"}, 404),
        ("DELETE", "/tenants/acme/models/never", None, 404),
        ("GET", "/adapters/acme/nothing/aliases", None, 404),
        ("GET", "/adapters/acme/Bad/history", None, 400),
        ("GET", "/adapters/acme/triage@1.0/aliases", None, 400),
        ("POST", "/keys", {"tenant": "acme", "actor": ""}, 400),
        ("DELETE", "/keys/key-0?actor=", None, 400),
        ("GET", "/tenants?colour=1", None, 400),
        ("GET", "/adapters/acme/triage/history?after=-1", None, 400),
        ("GET", "/actions?after=x", None, 400),
    ],
)
def test_what_cannot_be_meant_is_refused(admin: Admin, method: str, path: str, body: Any, status: int) -> None:
    before = admin.get("/tenants"), admin.get("/keys"), admin.get("/actions")
    content = b"" if body is None else json.dumps(body).encode()  # the client's own encoder knows no lone surrogate
    answer = admin.http.request(
        method,
        f"{admin.url}/admin/v1{path}",
        content=content,
        headers=_with(admin, {"Content-Type": "application/json"} if content else {}),
    )
    code, error = answer.status_code, answer.json()["error"]
    assert (code, bool(error["message"])) == (status, True), error
    assert (admin.get("/tenants"), admin.get("/keys"), admin.get("/actions")) == before


@pytest.mark.parametrize("path", ["/tenants", "/keys", "/actions", "/adapters/acme/triage/aliases"])
def test_only_the_operator_sees_them(stack: Stack, admin: Admin, path: str) -> None:
    assert admin.refused("GET", path, key="sk-nobody")[0] == 401
    secret = stack.house.registry.tenants.create_key("acme").secret
    stack.wait_revision()
    assert admin.refused("GET", path, key=secret)[0] == 403


def test_lists_come_in_pages_that_miss_nothing(admin: Admin, registry: Registry) -> None:
    for number in range(3):
        registry.tenants.create(f"page-{number}")
        registry.tenants.create_key("page-0")
        registry.model_names.map("page-0", f"name/{number}", "tiny")
    expected = {
        "/tenants": ("tenants", "name", [info.name for info in registry.tenants.all()]),
        "/keys": ("keys", "id", [info.id for info in registry.tenants.list_keys()]),
        "/tenants/page-0/models": ("models", "external", [f"name/{number}" for number in range(3)]),
    }
    for path, (rows, name, whole) in expected.items():
        found: list[str] = []
        after: str | None = None
        while True:
            page = admin.get(path, limit=2, **({"after": after} if after else {}))
            found += [row[name] for row in page[rows]]
            after = page["next"]
            if after is None:
                break
        assert found == whole, path


def test_promote_and_rollback_insist_on_the_alias_that_was_read(stack: Stack, admin: Admin) -> None:
    def alias() -> dict[str, Any]:
        (found,) = admin.get("/adapters/acme/triage/aliases")["aliases"]
        return dict(found)

    def order(path: str, etag: str, **body: str) -> httpx.Response:
        headers = _with(admin, {"If-Match": f'"{etag}"'})
        return admin.http.post(f"{admin.url}/admin/v1/swaps{path}", json=body, headers=headers)

    before = alias()
    assert (before["version"], before["arms"]) == ("acme/triage@1.0", {})
    assert order("", "none", version="acme/triage@1.1").status_code == 412
    promoted = order("", before["etag"], version="acme/triage@1.1", actor="portal")
    assert promoted.status_code == 202, promoted.text
    wait_until("the swap", lambda: admin.get(f"/swaps/{promoted.json()['id']}")["swap"]["state"] == "done")
    assert alias()["version"] == "acme/triage@1.1"
    assert order("/rollback", before["etag"], adapter="acme/triage").status_code == 412
    back = order("/rollback", alias()["etag"], adapter="acme/triage", actor="portal")
    wait_until("the swap", lambda: admin.get(f"/swaps/{back.json()['id']}")["swap"]["state"] == "done")
    moves = admin.get("/adapters/acme/triage/history")["moves"]
    assert [(move["actor"], move["to_version"]) for move in moves[-2:]] == [
        ("portal", "acme/triage@1.1"),
        ("portal", "acme/triage@1.0"),
    ]
    first = admin.get("/adapters/acme/triage/history", limit=1)
    rest = admin.get("/adapters/acme/triage/history", limit=500, after=first["next"])
    assert first["moves"] + rest["moves"] == moves


def _with(admin: Admin, headers: dict[str, str]) -> dict[str, str]:
    from gateway.admin_key import admin_key

    return {"Authorization": f"Bearer {admin_key(admin.house.settings)}", **headers}
