"""Clients that offer another protocol, as Java's does with every first request, and connections that idle."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.serving.protocol import BoundedProtocol
from gateway.serving.server import Server, server_config
from loadtest.ports import free_port
from tests.support.stack import CHAT, MESSAGES, Stack
from tests.support.waiting import DEADLINE_S, wait_until

H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQB\r\n"
OFFERS = [
    H2C,
    "Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\nConnection: HTTP2-Settings, Upgrade\r\n",
    "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n",
    "Connection: keep-alive, Upgrade\r\nUpgrade: TLS/1.2, HTTP/2.0\r\n",
    "Upgrade: h2c\r\n",
    "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n",
]
CHUNKED = "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers with the path and the body, and with how many headers the request has."""
    if scope["type"] == "lifespan":
        for answer in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
            await receive()
            await send({"type": answer})
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    said = b"%b %b [%b] %d;" % (scope["method"].encode(), scope["raw_path"], body, len(scope["headers"]))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]})
    await send({"type": "http.response.body", "body": said})


@pytest.fixture
def port() -> Iterator[int]:
    port = free_port()
    server = Server(server_config(echo, "127.0.0.1", port, grace_s=1, keep_alive_s=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until("the server to start", lambda: server.started)
    yield port
    server.should_exit = True
    thread.join(DEADLINE_S)


def echoed(port: int, pieces: list[str]) -> list[str]:
    """What was echoed of these pieces, each in a packet of its own, and of the request that ends the connection."""
    last = "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [*pieces[:-1], pieces[-1] + last]:
            connection.sendall(piece.encode())
        with connection.makefile("rb") as file:
            return re.findall(r"\w+ /\S* \[[^]]*\]", file.read().decode())


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("framed", ["Content-Length: 5\r\n\r\nhello", CHUNKED])
def test_a_request_that_offers_an_upgrade_is_served_with_its_body(port: int, offer: str, framed: str) -> None:
    request = f"POST /a HTTP/1.1\r\nHost: x\r\n{offer}{framed}"
    assert echoed(port, [request]) == ["POST /a [hello]", "GET /last []"]


@pytest.mark.parametrize("cut", range(8, 330, 23))
def test_wherever_the_packets_are_cut(port: int, cut: int) -> None:
    request = f"POST /a HTTP/1.1\r\nHost: x\r\n{H2C}{CHUNKED}"
    assert echoed(port, [request[:cut], request[cut:]]) == ["POST /a [hello]", "GET /last []"]


@pytest.mark.parametrize("offer", OFFERS)
def test_a_body_that_comes_after_the_request_was_begun_is_waited_for(port: int, offer: str) -> None:
    head = (
        f"POST /a HTTP/1.1\r\nHost: x\r\n{offer}Connection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    )
    with (
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection,
        connection.makefile("rb") as file,
    ):
        connection.sendall(head.encode())
        assert file.readline() == b"HTTP/1.1 100 Continue\r\n", "whoever answers asks for the body"
        connection.sendall(b"hello")
        assert b"POST /a [hello]" in file.read()


def test_offers_may_follow_each_other_on_one_connection(port: int) -> None:
    bare, bodied = (f"{what} HTTP/1.1\r\nHost: x\r\n{H2C}" for what in ("GET /b", "POST /c"))
    requests = [f"{bare}\r\n", f"{bodied}Content-Length: 5\r\n\r\nhello", f"{bodied}{CHUNKED}", f"{bare}\r\n"]
    wanted = ["GET /b []", "POST /c [hello]", "POST /c [hello]", "GET /b []", "GET /last []"]
    assert echoed(port, ["".join(requests)]) == wanted


def test_an_offer_with_close_ends_the_connection_after_the_answer(port: int) -> None:
    request = f"POST /a HTTP/1.1\r\nHost: x\r\n{H2C}Connection: close\r\nContent-Length: 5\r\n\r\nhello"
    assert echoed(port, [request]) == ["POST /a [hello]"]


@pytest.mark.parametrize(
    "framed",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_an_offer_hides_no_second_request_from_whoever_stands_in_front(port: int, framed: str) -> None:
    smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    assert not [one for one in echoed(port, [f"POST /a HTTP/1.1\r\n{H2C}{framed}{smuggled}"]) if "smuggled" in one]


def test_a_tunnel_is_no_way_to_a_second_request(port: int) -> None:
    smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    for authority in ("/a", "x:443"):
        assert "smuggled" not in "".join(echoed(port, [f"CONNECT {authority} HTTP/1.1\r\nHost: x\r\n\r\n{smuggled}"]))


def test_a_stock_java_client_is_answered_by_the_gateway(stack: Stack) -> None:
    host, _, port = stack.url.removeprefix("http://").partition(":")
    body = json.dumps({"model": "triage", "messages": MESSAGES, "max_tokens": 2})
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        head = (
            f"POST {CHAT} HTTP/1.1\r\n{H2C}Host: {host}:{port}\r\nTransfer-Encoding: chunked\r\n"
            f"User-Agent: Java-http-client/21.0.2\r\nAuthorization: Bearer {stack.house.keys['acme']}\r\n\r\n"
        )
        client.sendall(f"{head}{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_connection_idles_as_long_as_the_setting_says_before_and_after_a_request(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedProtocol, "head_timeout_s", 0.1)
    for request in (b"", b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"):
        began_s = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
            connection.sendall(request)
            connection.makefile("rb").read()
        assert time.monotonic() - began_s > 0.9


def test_idle_connections_outlive_those_of_load_balancers_by_default(stack: Stack) -> None:
    assert stack.house.settings.keep_alive_s >= 75


def test_what_is_no_http_is_refused_as_the_api_refuses_and_with_an_id(port: int) -> None:
    for garbage, status in ((b"\x16\x03\x01\x02\x00\r\n\r\n", b"400"), (b"GET /" + b"a" * 70_000, b"431")):
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
            connection.sendall(garbage)
            with connection.makefile("rb") as file:
                head, _, body = file.read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + status)
        assert re.search(rb"\r\nx-request-id: [0-9a-f]{32}\r\n", head)
        assert json.loads(body)["error"]["type"] == "invalid_request_error"
