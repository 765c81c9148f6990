"""Who may have a body read: what a key alone decides is decided before it, and half-sent bodies keep nobody out."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import uvicorn

from gateway.api import client
from gateway.serving.protocol import BoundedProtocol
from gateway.steps.admit import Places
from loadtest.ports import free_port
from tests.support.stack import CHAT, Stack, open_house, run_stack
from tests.support.waiting import DEADLINE_S, wait_until, wait_until_async

BODIES = 8


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A gateway with few places for unfinished bodies; every test makes tenants of its own."""
    with open_house(tmp_path_factory.mktemp("door")) as house, run_stack(house, max_unfinished_bodies=BODIES) as stack:
        yield stack


def tenant(stack: Stack, name: str, **most: int) -> None:
    stack.house.tenant(name)
    stack.house.publish(f"{name}/triage")
    stack.house.point(f"{name}/triage", "1.0")
    if most:
        stack.house.registry.limits.set(f"tenant:{name}", most)
    stack.wait_revision()
    stack.wait_resident(f"{name}/triage@1.0")


def half_sent(stack: Stack, key: str, sent: bytes = b'{"model"') -> socket.socket:
    """A request of which the head and some of the body have come."""
    host, _, port = stack.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=DEADLINE_S)
    secret = stack.house.keys.get(key, key)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nContent-Length: 4000000\r\n\r\n"
    connection.sendall(head.encode() + sent)
    return connection


def code_of(connection: socket.socket) -> tuple[int, str]:
    """Status and error code of an answer that ends its connection or comes whole."""
    data = b""
    while b"\r\n\r\n" not in data or not data.endswith(b"}}"):
        received = connection.recv(65_536)
        assert received, data
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def readable(sockets: list[socket.socket], at_least: int) -> list[socket.socket]:
    """Those that were answered, once there are so many."""
    found = select.select(sockets, [], [], 0)[0]
    return found if len(found) >= at_least else []


def free_requests(stack: Stack, scope: str) -> float:
    assert stack.gateway.house is not None
    counter = stack.gateway.house.limits.counter(scope)
    assert counter is not None
    assert counter.requests is not None
    return counter.requests.free(time.monotonic())


def in_flight(stack: Stack, scope: str) -> int:
    assert stack.gateway.house is not None
    counter = stack.gateway.house.limits.counter(scope)
    assert counter is not None
    return counter.in_flight


@pytest.mark.parametrize("scope", ["tenant", "key"])
def test_a_request_above_its_rate_is_refused_before_its_body_has_come(door: Stack, scope: str) -> None:
    name = f"over-{scope}"
    tenant(door, name)
    key = door.house.registry.tenants.create_key(name)
    limited = f"tenant:{name}" if scope == "tenant" else f"key:{key.id}"
    door.house.registry.limits.set(limited, {"requests_per_minute": 1})
    door.wait_revision()
    assert door.chat("triage", key.secret).status_code == 200
    with closing(half_sent(door, key.secret, b"")) as connection:
        assert code_of(connection) == (429, "rate_limit_exceeded")


def test_what_was_parsed_is_counted_once_whatever_was_wrong_with_it(door: Stack) -> None:
    tenant(door, "counted", requests_per_minute=10)
    before = time.monotonic()

    def are_counted(requests: int) -> bool:
        """And no more and no fewer, but for those that time has given back."""
        free = free_requests(door, "tenant:counted")
        given_back = (time.monotonic() - before) * 10 / 60
        return 10 - requests - 0.1 < free < 10 - requests + 0.1 + given_back

    assert door.chat("triage", "counted").status_code == 200
    assert are_counted(1)
    assert door.post(CHAT, b"[[[", "counted").status_code == 400
    assert door.chat("no-such", "counted").status_code == 404
    assert are_counted(3)


def test_half_sent_bodies_count_as_requests_that_run_of_their_tenant(door: Stack) -> None:
    tenant(door, "slow", concurrency=2)
    with ExitStack() as open_ones:
        for _ in range(2):
            open_ones.enter_context(closing(half_sent(door, "slow")))
        wait_until("both to be there", lambda: in_flight(door, "tenant:slow") == 2)
        with closing(half_sent(door, "slow")) as third:
            assert code_of(third) == (429, "rate_limit_exceeded")
    wait_until("both to be gone", lambda: in_flight(door, "tenant:slow") == 0)
    assert door.chat("triage", "slow").status_code == 200


def test_half_sent_bodies_of_two_tenants_do_not_close_the_gateway_for_a_third(door: Stack) -> None:
    for name in ("mallory", "trudy", "alice"):
        tenant(door, name)
    assert door.gateway.house is not None
    bodies = door.gateway.house.admission.bodies
    with ExitStack() as open_ones:
        sockets = [
            open_ones.enter_context(closing(half_sent(door, name)))
            for name in ("mallory", "trudy")
            for _ in range(2 * BODIES)
        ]
        refused = wait_until("those above the share to be refused", lambda: readable(sockets, at_least=3 * BODIES))
        assert {code_of(connection) for connection in refused} == {(429, "concurrency_limit")}
        assert door.chat("triage", "alice").status_code == 200
        with closing(half_sent(door, "alice")):
            wait_until("a body of alice", lambda: bodies.by_tenant.get("alice") == 1)
    wait_until("all places to be free", lambda: bodies.taken == 0)


def test_a_body_that_comes_too_slowly_is_a_408_that_ends_the_connection(
    door: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "BODY_GRACE_S", 0.05)
    tenant(door, "snail")
    with closing(half_sent(door, "snail")) as connection:
        assert code_of(connection) == (408, "body_timeout")
        assert connection.recv(1) == b""


def test_a_tenant_never_has_more_places_than_it_leaves_to_others() -> None:
    places = Places("requests", most=100, most_of_tenant=100)
    held: list[Any] = []

    def fill(tenant: str) -> int:
        before = len(held)
        try:
            while True:
                place = places.place(tenant)
                place.__enter__()
                held.append(place)
        except Exception:
            return len(held) - before

    assert fill("a") == 50
    assert fill("b") == 25
    assert all(fill(name) > 0 for name in "cdef")
    for place in held:
        place.__exit__(None, None, None)
    assert (places.taken, places.by_tenant) == (0, {})


class NeverReadsOn(BoundedProtocol):
    """Takes a day for a megabyte that nobody wants."""

    unwanted_bytes_per_s = 12


@pytest.mark.parametrize(("protocol", "comes_through"), [(BoundedProtocol, True), (NeverReadsOn, False)])
async def test_a_body_that_was_refused_before_it_came_is_read_no_faster_than_it_may(
    protocol: type[BoundedProtocol], comes_through: bool
) -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 429, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(refuse, port=port, http=protocol, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    await wait_until_async("the server to start", lambda: server.started)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % 2_000_000 + b"x" * 100)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 429 ")
        writer.write(b"x" * 1_999_900 + head % 0)
        if comes_through:
            assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)).startswith(b"HTTP/1.1 429 ")
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 0.3)
    finally:
        writer.close()
        server.should_exit = True
        await serving
