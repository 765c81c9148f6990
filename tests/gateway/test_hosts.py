"""Under which names a gateway answers, and that nobody speaks in two names at once."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.api.hosts import Hosts
from gateway.settings import GatewaySettings
from tests.support.stack import CHAT, MESSAGES, House, Stack, run_stack

ADMIN = 9_000


def refused(hosts: Hosts, *names: str, port: int = ADMIN) -> bool:
    headers = [(b"accept", b"*/*"), *((b"host", name.encode("latin-1")) for name in names)]
    return hosts.refusal({"server": ("127.0.0.1", port), "headers": headers}) is not None


def ask(url: str, lines: list[str], path: str = "/readyz", method: str = "GET", body: str = "") -> tuple[int, Any]:
    """A request with these lines in its head, and no other; its status and document."""
    host, _, port = url.removeprefix("http://").partition(":")
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, f"Content-Length: {len(body)}", "Connection: close"])
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(f"{head}\r\n\r\n{body}".encode())
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    return int(answer[9:12]), json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize(
    "name",
    [
        "127.0.0.1",
        "127.0.0.1:9000",
        "[::1]:9000",
        "[::1]",
        "10.1.2.3",
        "localhost:9000",
        "a.localhost",
        "gateway",
        "LocalHost.",
    ],
)
def test_an_address_and_a_name_without_a_dot_are_always_right(name: str) -> None:
    assert not refused(Hosts([], ADMIN), name)
    assert not refused(Hosts(["llm.example.com"], ADMIN), name)


@pytest.mark.parametrize(
    "name",
    ["evil.example", "evil.example:9000", "127.0.0.1.evil.example", "localhost.evil.example", "a@127.0.0.1",
     "evil.example, 127.0.0.1", "127.0.0.1:9000:evil.example", "[::1].evil.example", "[evil.example]", "", " ",
     "1.2.3", "notlocalhost.example"],
)  # fmt: skip
def test_the_operators_listener_answers_no_name_of_strangers(name: str) -> None:
    assert refused(Hosts([], ADMIN), name)
    assert not refused(Hosts([], ADMIN), name, port=8_000), "clients may come by any name"


def test_two_hosts_or_none_are_no_host() -> None:
    hosts = Hosts([], ADMIN)
    assert refused(hosts, "127.0.0.1", "evil.example")
    assert refused(hosts)


def test_names_that_are_listed_are_right_and_then_others_are_not_for_clients_either() -> None:
    hosts = Hosts(["llm.example.com", "*.example.org"], ADMIN)
    for port in (ADMIN, 8_000):
        for name in ("llm.example.com", "LLM.example.com:443", "a.example.org", "a.b.example.org."):
            assert not refused(hosts, name, port=port)
        for name in ("example.com", "x.llm.example.com", "example.org", "evilexample.org"):
            assert refused(hosts, name, port=port)
    assert not Hosts(["*"], ADMIN).on
    assert not Hosts([], None).on


def test_what_is_no_name_is_said_at_the_start() -> None:
    with pytest.raises(ValidationError, match="no name of a host"):
        GatewaySettings(allowed_hosts=["https://llm.example.com"])
    assert GatewaySettings(allowed_hosts="LLM.example.com, *.example.org").allowed_hosts == [
        "llm.example.com", "*.example.org",
    ]  # fmt: skip


def test_a_gateway_that_has_names_answers_no_other(house: House) -> None:
    with run_stack(house, allowed_hosts=["llm.example.com"]) as stack:
        for path, key in (
            ("/v1/models", f"Bearer {house.keys['acme']}"),
            ("/admin/v1/me", stack.operator["Authorization"]),
        ):
            for name, status in (("evil.example", 421), ("llm.example.com", 200), ("127.0.0.1", 200)):
                answered, found = ask(stack.url, [f"Host: {name}", f"Authorization: {key}"], path)
                assert answered == status
                assert status == 200 or found["error"]["code"] == "unknown_host"
        status, found = ask(stack.url, ["Host: evil.example"], CHAT, "POST", "{}")
        assert (status, found["error"]["code"]) == (421, "unknown_host")


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/v1/files", "/v1/account", "/admin/v1/me", "/metrics"])
@pytest.mark.parametrize("second", ["the same", "another", "Basic"])
def test_two_authorizations_are_refused_wherever_they_come(stack: Stack, path: str, second: str) -> None:
    key = (
        stack.operator["Authorization"]
        if path.startswith(("/admin", "/metrics"))
        else f"Bearer {stack.house.keys['acme']}"
    )
    other = {"the same": key, "another": f"Bearer {stack.house.keys['globex']}", "Basic": "Basic Og=="}[second]
    body = json.dumps({"model": "triage", "messages": MESSAGES}) if path == CHAT else ""
    for one, two in ((key, other), (other, key)):
        lines = ["Host: x", f"Authorization: {one}", f"Authorization: {two}"]
        status, found = ask(stack.url, lines, path, "POST" if path == CHAT else "GET", body)
        assert (status, found["error"]["code"]) == (400, "ambiguous_api_key")


@pytest.mark.parametrize("header", ["api-key", "x-api-key"])
def test_an_operators_key_beside_another_one_opens_nothing(stack: Stack, header: str) -> None:
    lines = ["Host: x", f"Authorization: {stack.operator['Authorization']}", f"{header}: {stack.house.keys['acme']}"]
    for path in ("/admin/v1/me", "/metrics"):
        status, found = ask(stack.url, lines, path)
        assert (status, found["error"]["code"]) == (400, "ambiguous_api_key")
    assert ask(stack.url, lines[:2], "/admin/v1/me")[0] == 200


def test_nobody_is_sent_anywhere_by_the_host_that_he_names(stack: Stack) -> None:
    head = {"host": "evil.example", **stack.operator}
    for path in ("/v1/models/", "/admin/v1/tenants/", "/docs/", "//evil.example/v1/models", "/v1//models"):
        assert not 300 <= stack.http.get(f"{stack.url}{path}", headers=head).status_code < 400
