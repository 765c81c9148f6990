"""The admin API is the operator's: its key is nobody else's, and is made once however many processes begin."""

from __future__ import annotations

import re
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.admin_key import admin_key, admin_key_file, known_admin_key
from gateway.settings import GatewaySettings
from registry.errors import InvalidInput
from tests.support.admin_calls import Admin
from tests.support.program import running
from tests.support.stack import House, Stack
from tests.support.waiting import DEADLINE_S

MAKE_A_KEY = """
import sys
from pathlib import Path
from gateway.admin_key import admin_key
from gateway.settings import GatewaySettings
settings = GatewaySettings(state_dir=Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(admin_key(settings))
"""


def test_without_a_key_nothing_is_shown_and_the_sentence_says_which_key_is_meant(admin: Admin) -> None:
    for path in ("/fleet", "/engines", "/residency", "/adapters", "/swaps", "/swaps/1", "/quarantine"):
        answer = admin.http.get(f"{admin.url}/admin/v1{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "missing_api_key"), path
    assert "operator's key" in answer.json()["error"]["message"]


def test_a_tenants_key_is_forbidden_and_an_unknown_one_is_unauthenticated(admin: Admin) -> None:
    status, error = admin.refused("GET", "/fleet", key=admin.house.keys["acme"])
    assert (status, error["code"], error["type"]) == (403, "not_an_admin_key", "permission_error")
    assert "tenant's key" in error["message"]
    status, error = admin.refused("GET", "/fleet", key="sk-admin-guess")
    assert (status, error["code"]) == (401, "invalid_api_key")


def test_the_operators_key_is_an_unknown_key_where_tenants_are_served(stack: Stack) -> None:
    key = admin_key(stack.house.settings)
    assert stack.chat("acme/triage", key=key).json()["error"]["code"] == "invalid_api_key"
    models = stack.http.get(f"{stack.url}/v1/models", headers={"Authorization": f"Bearer {key}"})
    assert models.status_code == 401


def test_of_a_stranger_not_even_the_body_is_read(admin: Admin) -> None:
    host, _, port = admin.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as stranger:
        stranger.sendall(
            b"POST /admin/v1/swaps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000000000\r\n\r\n{"
        )
        assert stranger.recv(4096).startswith(b"HTTP/1.1 401")


def test_processes_that_start_at_once_have_one_key_in_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    makers = [
        subprocess.Popen(running(MAKE_A_KEY, str(folder)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for maker in makers:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "ready\n"
    keys = [maker.communicate("go\n", timeout=30)[0].strip() for maker in makers]
    assert len(set(keys)) == 1
    assert keys[0].startswith("sk-admin-")
    assert len(keys[0]) == len("sk-admin-") + 43
    (file,) = folder.iterdir()
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == ("admin-key", 0o600)


def test_a_key_in_the_settings_is_the_key_and_no_file_is_made(tmp_path: Path) -> None:
    settings = GatewaySettings(state_dir=tmp_path, admin_key="k" * 32)
    assert admin_key(settings) == "k" * 32
    assert not admin_key_file(settings).exists()


def test_a_key_that_could_be_guessed_is_refused_without_being_shown(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"SWITCHYARD_ADMIN_KEY has 6 characters") as refused:
        admin_key(GatewaySettings(state_dir=tmp_path, admin_key="secret"))
    assert "secret" not in refused.value.message
    (tmp_path / "admin-key").write_text("")
    with pytest.raises(InvalidInput, match=r"admin-key has 0 characters.*Delete the file"):
        admin_key(GatewaySettings(state_dir=tmp_path))


def test_a_caller_without_a_key_is_told_where_keys_come_from(house: House) -> None:
    with pytest.raises(InvalidInput, match=r"SWITCHYARD_ADMIN_KEY is not set, and .*admin-key is made by a gateway"):
        known_admin_key(house.settings)
    assert not admin_key_file(house.settings).exists(), "looking for a key makes none"


def test_no_route_looks_past_a_query_parameter_or_a_body_that_it_does_not_know(stack: Stack) -> None:
    admin = Admin(stack.house, stack.url, stack.http)
    stack.house.registry.limits.set("tenant:acme", {"concurrency": 5})
    routes = [route for route in stack.routes() if route.path.startswith("/admin/v1")]
    assert len(routes) > 15
    for route in routes:
        path = re.sub(r"{.*?}", "tenant:acme", route.path.removeprefix("/admin/v1"))
        for method in route.methods:
            status, error = admin.refused(method, path, params={"nmae": "foo"})
            assert (status, error["code"], error["param"]) == (400, "unknown_parameter", "nmae"), path
            if route.body_field is None:
                status, error = admin.refused(method, path, json={"names": ["concurrency"]})
                assert (status, error["code"]) == (400, "unexpected_body"), path
            else:
                body: Any = route.body_field.field_info.annotation
                assert body.model_config["extra"] == "forbid", path
    assert admin.refused("GET", "/limits", params=[("limit", "1"), ("limit", "2")])[1]["param"] == "limit"
    assert stack.house.registry.limits.get("tenant:acme").concurrency == 5


def test_no_order_is_obeyed_without_a_condition_that_its_route_does_not_look_at(stack: Stack) -> None:
    admin = Admin(stack.house, stack.url, stack.http)
    stack.house.registry.limits.set("tenant:acme", {"concurrency": 5})
    orders: list[tuple[str, str, Any]] = [
        ("POST", "/tariffs", {"scope": "tenant:acme", "input": "1", "output": "1", "source": "x"}),
        ("DELETE", "/keys/key-none", None),
        ("POST", "/tenants", {"name": "conditional"}),
        ("PATCH", "/tenants/acme", {"allow_unknown_fields": False}),
    ]
    for method, path, body in orders:
        name = "If-None-Match" if method == "PATCH" else "If-Match"
        headers = {**stack.operator, name: "*"}
        sent: dict[str, Any] = {} if body is None else {"json": body}
        answer = stack.http.request(method, f"{admin.url}/admin/v1{path}", headers=headers, **sent)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_condition"), path
        assert answer.json()["error"]["param"] == name.lower()
    assert stack.house.registry.limits.get("tenant:acme").concurrency == 5
    assert stack.http.get(
        f"{admin.url}/admin/v1/limits", headers={**stack.operator, "If-None-Match": "*"}
    ).is_success, "a cache may ask so"
