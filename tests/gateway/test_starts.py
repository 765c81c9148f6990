"""Requests that come at once begin a few in a turn of the event loop, by turns of who sends them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from gateway.serving.crowd import Crowd
from gateway.serving.server import ACCEPTED_IN_A_TURN, Server, server_config
from gateway.serving.starts import IN_A_TURN, Starts
from loadtest.ports import free_port
from tests.support.waiting import DEADLINE_S, wait_until

MANY = 5 * ACCEPTED_IN_A_TURN


async def arrive(starts: Starts, who: str, began: list[str]) -> None:
    """One request."""
    if starts.may_begin(asyncio.get_running_loop()):
        began.append(who)
    else:
        starts.wait(who, partial(began.append, who))


async def test_few_begin_in_a_turn_and_all_in_the_end() -> None:
    starts, began = Starts(), list[str]()
    for _ in range(MANY):
        await arrive(starts, "many", began)
    for turn in range(1, MANY // IN_A_TURN + 1):
        assert len(began) == turn * IN_A_TURN
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    await arrive(starts, "many", began)
    assert len(began) == MANY + 1, "who comes alone begins at once"


async def test_who_sends_few_begins_in_the_next_turn_whoever_sends_many() -> None:
    starts, began = Starts(), list[str]()
    for _ in range(MANY):
        await arrive(starts, "many", began)
    await arrive(starts, "few", began)
    await asyncio.sleep(0)
    assert began[IN_A_TURN:].index("few") == 1
    for _ in range(MANY):
        await asyncio.sleep(0)
    assert (began.count("many"), began.count("few")) == (MANY, 1)
    assert vars_of(starts) == {}


async def test_what_waits_is_not_passed_by_who_comes_later() -> None:
    starts, began = Starts(), list[str]()
    for _ in range(2 * IN_A_TURN):
        await arrive(starts, "many", began)
    assert not starts.may_begin(asyncio.get_running_loop())
    await asyncio.sleep(0)
    assert not starts.may_begin(asyncio.get_running_loop()), "this turn's are begun"
    await asyncio.sleep(0)
    assert starts.may_begin(asyncio.get_running_loop())


def vars_of(starts: Starts) -> dict[str, Any]:
    """Who waits."""
    return starts._lines


class Door:
    """An application that holds up its loop with its first request, and notes who comes in which order."""

    def __init__(self) -> None:
        self.held, self.go = threading.Event(), threading.Event()
        self.began: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for stage in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{stage}.complete"})
            return
        who = dict(scope["headers"])[b"host"]
        self.began.append(who)
        if who == b"first":
            self.held.set()
            self.go.wait(DEADLINE_S)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def serving(door: Door) -> Iterator[int]:
    port = free_port()
    server = Server(server_config(door, "127.0.0.1", port, grace_s=1, crowd=Crowd()))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until("the server to start", lambda: server.started)
        yield port
    finally:
        door.go.set()
        server.should_exit = True
        thread.join(DEADLINE_S)


def come(port: int, stack: ExitStack, address: str) -> socket.socket:
    """A new connection, on which nothing was sent yet."""
    return stack.enter_context(socket.create_connection(("127.0.0.1", port), DEADLINE_S, source_address=(address, 0)))


def known(port: int, stack: ExitStack, address: str) -> socket.socket:
    """One that is read."""
    connection = come(port, stack, address)
    ask(connection, "before")
    assert connection.recv(1000).endswith(b"ok")
    return connection


def hold(door: Door, first: socket.socket) -> None:
    ask(first, "first")
    assert door.held.wait(DEADLINE_S)


def begun_before(door: Door, few: socket.socket, many: list[socket.socket], first: socket.socket) -> int:
    """How many of the many begin before the few's, when all ask while the first holds up the loop."""
    for one in many:
        ask(one, "many")
    ask(few, "few")
    door.go.set()
    assert all(one.recv(1000).endswith(b"ok") for one in (first, few, *many))
    assert door.began.count(b"many") == MANY
    return door.began.index(b"few") - door.began.index(b"first") - 1


def test_many_requests_of_one_address_hold_up_another_one_for_a_turn_of_the_loop() -> None:
    door = Door()
    with serving(door) as port, ExitStack() as stack:
        first, few = known(port, stack, "127.0.0.1"), known(port, stack, "127.0.0.2")
        many = [known(port, stack, "127.0.0.1") for _ in range(MANY)]
        hold(door, first)
        assert begun_before(door, few, many, first) <= IN_A_TURN + 1


def test_who_comes_behind_many_new_connections_does_not_wait_until_each_is_served() -> None:
    door = Door()
    with serving(door) as port, ExitStack() as stack:
        first = known(port, stack, "127.0.0.1")
        hold(door, first)
        many = [come(port, stack, "127.0.0.1") for _ in range(MANY)]
        few = come(port, stack, "127.0.0.2")
        assert begun_before(door, few, many, first) < MANY // 2


def ask(connection: socket.socket, who: str) -> None:
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {who}\r\n\r\n".encode())
