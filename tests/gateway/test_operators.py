"""What only the operator sees: with the key where clients are served, or on a listener that they do not reach."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import partial
from pathlib import Path

import httpx
import pytest

from gateway.admin_client import admin_client
from gateway.settings import GatewaySettings
from loadtest.ports import free_port
from tests.bars.support.engines import engine_processes
from tests.bars.support.gateways import gateway_process
from tests.support.stack import Stack, open_house
from tests.support.waiting import DEADLINE_S, wait_until

SHOWS = ("/metrics", "/docs", "/openapi.json")


@pytest.mark.parametrize("path", [*SHOWS, "/metrics/", "//metrics", "/v1/../metrics", "/Metrics"])
def test_without_the_key_nobody_sees_what_is_the_operators(stack: Stack, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer sk-no"}, {"Authorization": f"Bearer {stack.house.keys['acme']}"}):
        answer = stack.http.get(f"{stack.url}{path}", headers=headers)
        assert answer.status_code in (401, 403, 404)
        assert answer.json()["error"]["message"]
    assert "switchyard_tokens" not in answer.text


@pytest.mark.parametrize("path", SHOWS)
def test_with_the_key_the_operator_sees_it(stack: Stack, path: str) -> None:
    assert stack.http.get(f"{stack.url}{path}", headers=stack.operator).status_code == 200


def login(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("path", SHOWS)
def test_a_browser_asks_for_the_key_and_sees_what_is_the_operators(stack: Stack, path: str) -> None:
    key = stack.operator["Authorization"].removeprefix("Bearer ")
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

    def ask(**headers: str) -> httpx.Response:
        return stack.http.get(f"{stack.url}{path}", headers=headers)

    asked = ask(**browser)
    assert (asked.status_code, asked.headers["cache-control"]) == (401, "no-store")
    assert asked.headers["www-authenticate"].startswith('Basic realm="')
    assert "www-authenticate" not in ask().headers, "a script is not asked"
    for user in ("", "admin", "jürgen"):
        opened = ask(**browser, Authorization=login(user, key))
        assert (opened.status_code, opened.headers["cache-control"]) == (200, "no-store")
    assert ask(Authorization=login("x", key).replace("Basic", "bAsIc")).status_code == 200
    tenants = stack.house.keys["acme"]
    wrong = (
        login("a", "sk-no"),
        login("a", ""),
        login(key, "x"),
        login("a", tenants),
        "Basic !!",
        "Basic",
        "Basic /w==",
    )
    for given in wrong:
        again = ask(**browser, Authorization=given)
        assert again.status_code == 401, given
        assert again.headers["www-authenticate"].startswith("Basic"), given


def test_the_admin_api_takes_no_browsers_login(stack: Stack) -> None:
    key = stack.operator["Authorization"].removeprefix("Bearer ")
    headers = {"Authorization": login("admin", key), "Accept": "text/html"}
    for method in ("GET", "POST"):
        answer = stack.http.request(method, f"{stack.url}/admin/v1/tenants", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "missing_api_key")
        assert "www-authenticate" not in answer.headers


def test_no_answer_names_the_software_that_serves_it(stack: Stack) -> None:
    stack.wait_ready()
    answers = [stack.http.get(f"{stack.url}{path}") for path in ("/healthz", "/nothing", "/v1/models", "/docs")]
    answers += [stack.chat("triage"), stack.http.get(f"{stack.url}/v1/chat/completions")]
    assert [answer.headers.get("server") for answer in answers] == [None] * 6


def test_readiness_is_yes_or_no_to_all_but_the_operator(stack: Stack) -> None:
    stack.wait_ready()
    assert stack.http.get(f"{stack.url}/readyz").json() == {"ready": True}
    headers = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    assert stack.http.get(f"{stack.url}/readyz", headers=headers).json() == {"ready": True}
    assert stack.readiness()["engines"] == {stack.engine.url: "ok"}


def test_the_description_is_whole_and_needs_nothing_from_elsewhere(stack: Stack) -> None:
    document = stack.http.get(f"{stack.url}/openapi.json", headers=stack.operator).json()
    answer = stack.http.get(f"{stack.url}/docs", headers=stack.operator)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert not re.search(r"<(script|link|img|iframe)|src=|url\(|@import|href=.?(https?:|//)", answer.text)
    for path, item in document["paths"].items():
        for method in item:
            assert f"{method.upper()} {path}" in answer.text
    for name, schema in document["components"]["schemas"].items():
        assert f"id='{name}'" in answer.text
        for field in schema.get("properties", ()):
            assert f"<code>{field}</code>" in answer.text
    assert "/v1/chat/completions" in document["paths"]


def test_with_a_listener_of_its_own_everything_of_the_operator_is_there_and_only_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, get = free_port(), partial(httpx.get, timeout=DEADLINE_S)
    admin = f"http://127.0.0.1:{port}"
    with (
        open_house(tmp_path) as house,
        engine_processes(tmp_path, 1) as (engine,),
        gateway_process(house.settings.state_dir, [engine.url], workers=2, admin_listen=f":{port}") as gateway,
    ):
        key = {"Authorization": f"Bearer {(house.settings.state_dir / 'admin-key').read_text().strip()}"}
        for path in (*SHOWS, "/admin/v1/fleet", "/admin/v1/limits"):
            for headers in ({}, key):
                answer = get(f"{gateway.url}{path}", headers=headers)
                assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url"), path
        assert get(f"{gateway.url}/readyz", headers=key).json() == {"ready": True}
        for path in SHOWS:
            assert get(f"{admin}{path}").status_code == 200
        assert get(f"{admin}/readyz").json()["engines"] == {engine.url: "ok"}
        assert get(f"{admin}/admin/v1/fleet").status_code == 401
        for path in (*SHOWS, "/admin/v1/fleet"):
            assert get(f"{admin}{path}", headers={"Host": "evil.example", **key}).status_code == 421
        assert get(f"{gateway.url}/readyz", headers={"Host": "any.example"}).status_code == 200
        for name, value in gateway.environment.items():
            monkeypatch.setenv(name, value)
        with admin_client(None) as client:
            wait_until("both workers to be there", lambda: len(client.get("/fleet")["workers"]) == 2)


@pytest.mark.parametrize(
    ("given", "address", "url"),
    [
        ("9100", ("127.0.0.1", 9100), "http://127.0.0.1:9100"),
        (":9100", ("127.0.0.1", 9100), "http://127.0.0.1:9100"),
        ("0.0.0.0:9100", ("0.0.0.0", 9100), "http://127.0.0.1:9100"),
        ("[::1]:9100", ("::1", 9100), "http://[::1]:9100"),
        ("10.0.0.7:9100", ("10.0.0.7", 9100), "http://10.0.0.7:9100"),
    ],
)
def test_the_operators_address_is_read_as_people_write_it(given: str, address: tuple[str, int], url: str) -> None:
    settings = GatewaySettings(admin_listen=given)
    assert (settings.admin_address, settings.admin_url) == (address, url)


@pytest.mark.parametrize("given", ["", "x", "host:", "host:0", "host:99999", "8000"])
def test_an_address_that_is_none_or_the_gateways_own_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"admin_listen|address"):
        GatewaySettings(admin_listen=given, port=8000)
