"""Requests of ours by httpx that are cancelled at each turn of the loop, from before they connect until they end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from ipaddress import ip_network
from itertools import count
from typing import Any

import orjson
import pytest

from gateway.engines.faults import Unreachable
from gateway.engines.vllm.control import VllmControl
from gateway.webhooks.sender import Destinations, Sender
from tests.support.raw_server import Connection, RawServer, document, raw_server
from tests.support.waiting import DEADLINE_S, wait_until_async

EVENT = ("evt_1", b"{}", ["secret"])


async def greet(connection: Connection) -> None:
    await connection.send(document(b"{}"))


async def ends_within(turns: int, asking: Coroutine[Any, Any, Any]) -> bool:
    """Whether it has ended by itself after so many turns of the loop; it is cancelled otherwise."""
    task = asyncio.create_task(asking)
    for _ in range(turns):
        await asyncio.sleep(0)
    ended = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return ended


def still_open(server: RawServer) -> int:
    return sum(not connection.writer.is_closing() for connection in server.connections)


async def test_a_question_to_an_engine_that_is_cancelled_leaves_no_connection_that_nobody_uses() -> None:
    async with raw_server(greet) as server:
        control = VllmControl(server.url)
        for turns in count():
            ended = await ends_within(turns, control.healthy())
            assert await control.healthy()
            await wait_until_async(
                f"the connection that was cancelled after {turns} turns to be closed", lambda: still_open(server) == 1
            )
            if ended:
                break
            await control.close()
            control = VllmControl(server.url)
        await control.close()
        await wait_until_async("all to be closed", lambda: still_open(server) == 0)


async def test_an_engine_can_be_asked_however_many_questions_were_cancelled() -> None:
    async with raw_server(greet) as server:
        control = VllmControl(server.url)
        for turn in range(1_200):
            await ends_within(turn % 20, control.healthy())
        async with asyncio.timeout(DEADLINE_S):
            assert await control.healthy()
        await control.close()


async def test_what_is_asked_while_its_control_closes_leaves_no_connection() -> None:
    async with raw_server(greet) as server:
        for turns in count(1):
            control = VllmControl(server.url)
            asking = asyncio.create_task(control.healthy())
            for _ in range(turns):
                await asyncio.sleep(0)
            ended = asking.done()
            await control.close()
            await asyncio.gather(asking)
            await wait_until_async(f"all to be closed, after {turns} turns", lambda: still_open(server) == 0)
            if ended:
                break


async def test_when_one_question_about_endpoints_breaks_off_none_goes_on_behind_it() -> None:
    async def answer(connection: Connection) -> None:
        if len(server.requests) == 1:
            connection.writer.transport.abort()
            return
        await asyncio.sleep(0.05)
        answered.append(connection.number)
        await greet(connection)

    answered: list[int] = []
    async with raw_server(answer) as server:
        control = VllmControl(server.url)
        with pytest.raises(Unreachable, match="a question about its endpoints broke off"):
            await control.missing_endpoints()
        assert len(answered) == len(server.requests) - 1
        await control.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_delivery_that_is_cancelled_leaves_no_connection(scheme: str) -> None:
    """An address with TLS takes connections and says nothing: the handshake never ends."""
    sender = Sender(Destinations(None, None, (ip_network("127.0.0.0/8"),)))
    async with raw_server(greet) as server:
        url = server.url.replace("http", scheme)
        for turns in range(1_000):  # a turn may be shorter than it takes to connect
            await ends_within(turns, sender.post(url, *EVENT))
            await wait_until_async(f"all to be closed, after {turns} turns", lambda: still_open(server) == 0)
            if turns >= 40 and len(server.connections) > 10:
                break
        assert len(server.connections) > 10


async def test_what_an_engine_is_asked_is_whole_and_has_its_key() -> None:
    async def answer(connection: Connection) -> None:
        await connection.send(document(orjson.dumps({"count": 3})))

    async with raw_server(answer) as server:
        control = VllmControl(server.url, "k")
        assert await control.tokens.counted({"prompt": "a"}) == 3
        await control.close()
        ((head, body),) = server.requests
    assert head.startswith(b"POST /tokenize HTTP/1.1\r\n")
    assert body == b'{"prompt":"a"}'
    lines = head.lower().split(b"\r\n")
    assert b"authorization: bearer k" in lines
    for name in (b"host:", b"content-type:", b"content-length:"):
        assert len([line for line in lines if line.startswith(name)]) == 1
