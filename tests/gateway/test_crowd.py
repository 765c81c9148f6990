"""Connections of clients: how many there may be, and whose go when there are too many."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_network
from typing import Any

import pytest
import uvicorn

from gateway.api.asgi import ON_HELD_BACK, ON_KNOWN
from gateway.client_address import address_of, block_of
from gateway.serving import crowd as crowd_module
from gateway.serving import newcomers
from gateway.serving.crowd import LEAST, OWN_FILES, Crowd, room_of
from gateway.serving.server import server_config
from loadtest.ports import free_port
from tests.support.waiting import DEADLINE_S, wait_until

MOST = 8
HERE, THERE = "127.0.0.1", "127.0.0.2"


async def door(scope: Any, receive: Any, send: Any) -> None:
    """Knows everybody who sends a key. Its answer to /wait never ends, and that to /late is held back for ever."""
    if scope["type"] == "lifespan":
        for stage in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})
        return
    for name, value in scope["headers"]:
        if name == b"authorization":
            scope["extensions"][ON_KNOWN](value.decode())
    if scope["path"] == "/late":
        gone = asyncio.Event()
        scope["extensions"][ON_HELD_BACK](gone.set)
        await gone.wait()
        scope["extensions"][ON_HELD_BACK](None)
        return
    if scope["path"] == "/wait":
        await receive()
        await receive()
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def serving(crowd: Crowd) -> Iterator[int]:
    port = free_port()
    server = uvicorn.Server(server_config(door, HERE, port, grace_s=1, crowd=crowd))
    server.config.host = "0.0.0.0"  # so that clients have several addresses
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until("the server to start", lambda: server.started)
        yield port
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)


class Guests(ExitStack):
    """Connections to a server, closed at the end."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port

    def come(self, address: str = HERE) -> socket.socket:
        """One more, of which nothing is sent."""
        return self.enter_context(
            socket.create_connection((HERE, self.port), timeout=DEADLINE_S, source_address=(address, 0))
        )

    def known(self, tenant: str, address: str = HERE, path: str = "/") -> socket.socket:
        """One on which a valid key was sent."""
        connection = self.come(address)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {tenant}\r\n\r\n".encode())
        if path == "/":
            assert connection.recv(1000).endswith(b"ok")
        return connection


def answer(connection: socket.socket) -> bytes:
    """What a request is answered with; nothing where the connection is closed."""
    try:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return connection.recv(1000)
    except ConnectionError:
        return b""


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_the_oldest_of_silent_strangers_goes_for_who_comes() -> None:
    crowd = Crowd(MOST)
    with serving(crowd) as port, Guests(port) as guests:
        silent = [guests.come() for _ in range(MOST)]
        wait_until("all to be there", lambda: crowd.count == MOST)
        assert answer(guests.come()).endswith(b"ok")
        assert is_closed(silent[0])
        assert crowd.count == MOST
        assert answer(silent[1]).endswith(b"ok")


def test_a_thousand_silent_strangers_keep_out_nobody() -> None:
    crowd = Crowd(MOST)
    with serving(crowd) as port, Guests(port) as guests:
        kept = guests.known("acme")
        for _ in range(1_000 // MOST):
            for _ in range(MOST):
                guests.come().close()
            assert answer(kept).endswith(b"ok"), "a known key's connection stays"
            assert answer(guests.come()).endswith(b"ok")


def test_of_strangers_those_go_first_whose_address_has_most() -> None:
    crowd = Crowd(MOST)
    with serving(crowd) as port, Guests(port) as guests:
        other = guests.come(THERE)
        many = [guests.come() for _ in range(MOST - 1)]
        wait_until("all to be there", lambda: crowd.count == MOST)
        assert answer(guests.come(THERE)).endswith(b"ok")
        assert is_closed(many[0])
        assert answer(other).endswith(b"ok")


def test_without_strangers_an_idle_connection_goes_of_the_tenant_that_has_most() -> None:
    crowd = Crowd(MOST)
    with serving(crowd) as port, Guests(port) as guests:
        few = guests.known("bolt")
        many = [guests.known("acme") for _ in range(MOST - 1)]
        wait_until("all to idle", lambda: len(crowd.idle) == MOST)
        assert answer(guests.come()).endswith(b"ok")
        assert is_closed(many[0])
        assert answer(few).endswith(b"ok")


def test_who_is_held_back_goes_before_all_others_and_is_forgotten_with_its_connection() -> None:
    crowd = Crowd(MOST)
    with serving(crowd) as port, Guests(port) as guests:
        idle, stranger = guests.known("bolt"), guests.come()
        late = [guests.known("acme", path="/late") for _ in range(MOST - 2)]
        wait_until("all to be there", lambda: (len(crowd.held_back), crowd.count) == (MOST - 2, MOST))
        assert answer(guests.come()).endswith(b"ok")
        assert is_closed(late[0])
        assert crowd.count == MOST
        late[1].close()
        wait_until("whoever left to be forgotten", lambda: len(crowd.held_back) == MOST - 4)
        assert answer(idle).endswith(b"ok")
        assert answer(stranger).endswith(b"ok")
    wait_until("all to be forgotten", lambda: not crowd.held_back)


def test_who_has_just_come_does_not_go_for_one_who_has_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd_module, "MOMENT_S", 60.0)
    crowd = Crowd(MOST)
    with serving(crowd) as port, Guests(port) as guests:
        for _ in range(MOST - 1):
            guests.known("mallory", path="/wait")
        few = guests.come(THERE)
        wait_until("all to be there", lambda: crowd.count == MOST and len(crowd.strangers) == 1)
        assert guests.come().recv(1000).startswith(b"HTTP/1.1 503 ")
        assert answer(few).endswith(b"ok")


def test_an_idle_connection_does_not_go_for_one_who_has_more() -> None:
    crowd = Crowd(MOST)
    with serving(crowd) as port, Guests(port) as guests:
        few = guests.known("acme", THERE)
        for _ in range(MOST - 1):
            guests.known("mallory", path="/wait")
        wait_until("one to idle", lambda: crowd.count == MOST and len(crowd.idle) == 1)
        assert guests.come().recv(1000).startswith(b"HTTP/1.1 503 ")
        assert answer(few).endswith(b"ok")
        assert answer(guests.come("127.0.0.3")).endswith(b"ok"), "who has none gets one"


def test_a_silent_stranger_goes_for_whoever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd_module, "MOMENT_S", 0.0)
    crowd = Crowd(MOST)
    with serving(crowd) as port, Guests(port) as guests:
        silent = guests.come(THERE)
        for _ in range(MOST - 1):
            guests.known("acme", path="/wait")
        wait_until("all to be there", lambda: crowd.count == MOST and len(crowd.strangers) == 1)
        assert answer(guests.come()).endswith(b"ok")
        assert is_closed(silent)


def test_while_there_is_no_room_those_of_an_address_are_read_late_of_which_many_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("PER_S", 1e-3), ("BURST_S", 1e3), ("LATE_S", DEADLINE_S)):  # one, and then none for long
        monkeypatch.setattr(newcomers, name, value)
    crowd = Crowd(MOST)
    with serving(crowd) as port, Guests(port) as guests:
        for _ in range(MOST):
            guests.known("noisy", THERE, "/late")
        wait_until("no room to be left", lambda: len(crowd.held_back) == MOST)
        assert answer(guests.come(THERE)).endswith(b"ok")
        late = guests.come(THERE)
        late.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until("it to be there", lambda: any(one.late_s for one in crowd.strangers))
        assert answer(guests.come()).endswith(b"ok"), "another address waits for nobody"
        late.setblocking(False)
        with pytest.raises(BlockingIOError):
            late.recv(1)


def test_those_that_are_late_are_read_in_the_end_and_a_quiet_address_is_forgotten() -> None:
    paced = newcomers.Newcomers()
    at_once = sum(paced.late_s("a", 0.0) == 0 for _ in range(1_000))
    assert at_once == pytest.approx(newcomers.PER_S * newcomers.BURST_S, abs=1)
    assert paced.late_s("a", 0.0) == newcomers.LATE_S
    assert paced.late_s("b", 0.0) == 0
    later_s = newcomers.BURST_S + newcomers.LATE_S
    assert paced.late_s("c", later_s) == 0
    assert vars(paced)["_due_s"].keys() == {"c"}


def test_what_is_served_for_known_keys_never_goes_and_who_comes_is_told() -> None:
    crowd = Crowd(MOST)
    with serving(crowd) as port, Guests(port) as guests:
        for _ in range(MOST):
            guests.known("acme", path="/wait")
        wait_until("all to be served", lambda: crowd.count == MOST and not crowd.strangers)
        late = guests.come()
        refusal = late.recv(1000)
        assert refusal.startswith(b"HTTP/1.1 503 ")
        assert b'"too_many_connections"' in refusal
        assert crowd.count == MOST
    wait_until("all to be forgotten", lambda: crowd.count == 0)
    assert (crowd.idle, crowd.strangers) == ({}, {})


def test_an_address_has_its_own_number_and_its_own_strangers_make_room() -> None:
    crowd = Crowd(MOST, 2)
    with serving(crowd) as port, Guests(port) as guests:
        first = guests.come()
        wait_until("it to be there", lambda: crowd.count == 1)
        kept = guests.known("acme")
        assert answer(guests.come()).endswith(b"ok")
        assert is_closed(first)
        assert answer(guests.come(THERE)).endswith(b"ok"), "another address has nothing to do with it"
        assert answer(kept).endswith(b"ok")
        guests.known("acme", path="/wait")
        wait_until("both to be known", lambda: [one.address for one in crowd.strangers] == [THERE])
        assert guests.come().recv(1000).startswith(b"HTTP/1.1 503 ")


def test_proxies_have_no_number() -> None:
    crowd = Crowd(MOST, 2, [ip_network("127.0.0.0/24")])
    with serving(crowd) as port, Guests(port) as guests:
        for _ in range(MOST):
            guests.known("acme")
        assert crowd.count == MOST


def test_each_connection_has_a_file_for_its_engine_and_some_are_kept() -> None:
    assert room_of(1024, 128) * 2 + OWN_FILES + 128 == 1024
    assert room_of(100, 12) == LEAST


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("", ""),
    ],
)
def test_an_ipv6_client_is_its_network(address: str, block: str) -> None:
    assert block_of(address) == block


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("9.9.9.9", [b"1.1.1.1"], "9.9.9.9"),
        ("10.0.0.1", [b"6.6.6.6, 1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", [b"6.6.6.6", b"1.1.1.1, 10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", [b"me, 10.0.0.2"], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
    ],
)
def test_a_proxy_that_is_trusted_says_who_asks(peer: str, forwarded: list[bytes], address: str) -> None:
    headers = [(b"x-forwarded-for", one) for one in forwarded]
    assert address_of(peer, headers, [ip_network("10.0.0.0/8")]) == address


def test_what_is_no_http_is_told_of_in_one_line_however_much_there_was(caplog: pytest.LogCaptureFixture) -> None:
    crowd = Crowd()
    with serving(crowd) as port:
        for _ in range(5):
            with socket.create_connection((HERE, port), timeout=DEADLINE_S) as client:
                client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # the begin of TLS
                with client.makefile("rb") as file:
                    assert file.read().startswith(b"HTTP/1.1 400 ")
        assert caplog.messages == []
        crowd.unreadable.tell()
    (line,) = caplog.messages
    assert line == f"what came on 5 connections in 10 s is no HTTP/1.1, such as TLS; 5 of them were from {HERE}"
