"""The engine connection against a server that answers byte by byte as each test says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from gateway.engines.connection import EngineClient, EngineTimeout, EngineUnreachable, Exchange
from gateway.engines.engine_socket import HIGH_WATER_BYTES
from gateway.handoffs import EngineBroke, EngineLied
from loadtest.ports import free_port
from tests.support.raw_server import Answer, Connection, RawServer, chunked, document, raw_server
from tests.support.waiting import DEADLINE_S, wait_until_async

PATH = b"/v1/completions"


@asynccontextmanager
async def engine(answer: Answer, *, idle_limit: int = 256) -> AsyncIterator[tuple[EngineClient, RawServer]]:
    async with raw_server(answer) as server:
        client = EngineClient(server.url, idle_limit=idle_limit)
        yield client, server
        client.close()


def post(client: EngineClient, body: bytes = b"{}", *, head_timeout_s: float = DEADLINE_S) -> Exchange:
    return client.request(PATH, b"X-Request-Id: 7\r\n", (body,), head_timeout_s=head_timeout_s)


async def body_of(client: EngineClient, body: bytes = b"{}") -> bytes:
    async with post(client, body) as exchange:
        return await exchange.body(DEADLINE_S, 1 << 27)


def saying(data: bytes) -> Answer:
    async def answer(connection: Connection) -> None:
        await connection.send(data)

    return answer


async def test_the_request_is_whole_and_the_answer_too() -> None:
    async with engine(saying(document(b"hello", b"X-A: b"))) as (client, server):
        async with post(client, b'{"a":1}') as exchange:
            assert exchange.status == 200
            assert exchange.headers == {b"content-length": b"5", b"x-a": b"b"}
            assert await exchange.body(DEADLINE_S, 1 << 27) == b"hello"
        head, body = server.requests[0]
    host = server.url.removeprefix("http://").encode()
    assert head == (
        b"POST /v1/completions HTTP/1.1\r\nHost: " + host + b"\r\nContent-Type: application/json\r\n"
        b"Content-Length: 7\r\nX-Request-Id: 7\r\n\r\n"
    )
    assert body == b'{"a":1}'


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (document(b""), b""),
        (document(b"abc"), b"abc"),
        (chunked(), b""),
        (chunked(b"a", b"bc", b"d" * 300), b"abc" + b"d" * 300),
        (document(b"no", status=b"404 Not Found"), b"no"),
    ],
)
async def test_bodies_of_both_framings_are_read_however_their_bytes_are_cut(data: bytes, body: bytes) -> None:
    for size in (1, 2, 3, 7, 50, 10_000):

        async def answer(connection: Connection, size: int = size) -> None:
            await connection.send_in_pieces(data, size)

        async with engine(answer) as (client, _):
            assert await body_of(client) == body


async def test_a_connection_is_used_again_after_a_whole_answer() -> None:
    async with engine(saying(chunked(b"x"))) as (client, server):
        for _ in range(5):
            assert await body_of(client) == b"x"
        assert len(server.connections) == 1
        await asyncio.gather(*(body_of(client) for _ in range(4)))
        assert len(server.connections) <= 4
        assert len(server.requests) == 9


async def test_a_connection_that_the_engine_wants_closed_is_not_used_again() -> None:
    async with engine(saying(document(b"x", b"Connection: close"))) as (client, server):
        for _ in range(3):
            assert await body_of(client) == b"x"
        assert len(server.connections) == 3


async def test_no_more_idle_connections_are_kept_than_allowed() -> None:
    gate = asyncio.Event()

    async def answer(connection: Connection) -> None:
        await gate.wait()
        await connection.send(document(b"x"))

    async with engine(answer, idle_limit=2) as (client, server):
        asked = [asyncio.create_task(body_of(client)) for _ in range(5)]
        await wait_until_async("five requests", lambda: len(server.requests) == 5)
        gate.set()
        await asyncio.gather(*asked)
        assert len(client._idle) == 2


async def test_an_idle_connection_that_the_engine_closed_meanwhile_is_replaced_once() -> None:
    async def answer(connection: Connection) -> None:
        if len(connection.requests) == 2:
            connection.writer.transport.abort()
        else:
            await connection.send(document(b"%d" % connection.number))

    async with engine(answer) as (client, server):
        assert await body_of(client) == b"0"
        assert await body_of(client) == b"1", "sent again on a new connection"
        assert len(server.requests) == 3


async def test_a_new_connection_that_breaks_is_not_tried_again_here() -> None:
    async def answer(connection: Connection) -> None:
        connection.writer.transport.abort()

    async with engine(answer) as (client, server):
        with pytest.raises(EngineUnreachable):
            await body_of(client)
        assert len(server.requests) == 1


async def test_nobody_listening_is_unreachable_at_once() -> None:
    client = EngineClient(f"http://127.0.0.1:{free_port()}", connect_timeout_s=60.0)
    began = time.monotonic()
    with pytest.raises(EngineUnreachable, match="cannot connect"):
        await body_of(client)
    assert time.monotonic() - began < 30.0


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
async def test_bytes_that_are_no_http_are_no_answer_and_not_asked_twice(data: bytes) -> None:
    async with engine(saying(data)) as (client, server):
        with pytest.raises(EngineLied, match="not HTTP"):
            await body_of(client)
        assert len(server.requests) == 1


async def test_bytes_that_are_no_http_on_a_used_connection_are_not_asked_twice_either() -> None:
    async def answer(connection: Connection) -> None:
        await connection.send(document(b"x") if len(connection.requests) == 1 else b"garbage\r\n\r\n")

    async with engine(answer) as (client, server):
        await body_of(client)
        with pytest.raises(EngineLied, match="not HTTP"):
            await body_of(client)
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ],
)
async def test_an_answer_that_ends_early_breaks_after_what_had_come(data: bytes) -> None:
    async def answer(connection: Connection) -> None:
        await connection.send(data)
        connection.writer.close()

    async with engine(answer) as (client, _):
        got = b""
        async with post(client) as exchange:
            got += await exchange.some(DEADLINE_S)
            with pytest.raises(EngineBroke):
                await exchange.some(DEADLINE_S)
        assert got == b"half"
        assert not client._idle


async def test_an_engine_that_does_not_begin_is_a_timeout_and_its_socket_is_closed() -> None:
    closed = asyncio.Event()

    async def answer(connection: Connection) -> None:
        assert await connection.reader.read() == b""
        closed.set()

    async with engine(answer) as (client, server):
        began = time.monotonic()
        with pytest.raises(EngineTimeout, match=r"within 0\.1 s"):
            async with post(client, head_timeout_s=0.1):
                raise AssertionError("unreachable")
        assert 0.1 <= time.monotonic() - began < 30.0
        await asyncio.wait_for(closed.wait(), DEADLINE_S)
        assert len(server.requests) == 1


async def test_a_timeout_on_a_used_connection_is_not_asked_twice() -> None:
    async def answer(connection: Connection) -> None:
        if len(server.requests) == 1:
            await connection.send(document(b"x"))
        else:
            await connection.reader.read()

    async with engine(answer) as (client, server):
        await body_of(client)
        with pytest.raises(EngineTimeout):
            async with post(client, head_timeout_s=0.05):
                raise AssertionError("unreachable")
        assert len(server.requests) == 2


async def test_a_silence_within_the_answer_breaks_it_after_the_idle_timeout() -> None:
    async def answer(connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await connection.reader.read()

    async with engine(answer) as (client, _), post(client) as exchange:
        assert await exchange.some(0.1) == b"half"
        with pytest.raises(EngineBroke, match=r"nothing for 0\.1 s"):
            await exchange.some(0.1)


async def test_pauses_are_each_counted_for_themselves_also_on_a_connection_that_idled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a clock that leaps: an answer takes seven times two thirds of the timeout."""
    loop = asyncio.get_running_loop()
    real, leapt = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + leapt)

    async def pause() -> None:
        nonlocal leapt
        leapt += 200.0
        for _ in range(5):  # every timer that is due has rung
            await asyncio.sleep(0)

    def has_read(bytes_: int) -> bool:
        return len(got[-1]) == bytes_

    async def answer(connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n")
        for sent in range(7 if len(connection.requests) < 3 else 1):
            await wait_until_async("what was sent before to be read", partial(has_read, sent))
            await pause()
            await connection.send(b"x")

    got: list[bytes] = []
    async with engine(answer) as (client, server):
        for _ in range(2):
            got.append(b"")
            async with post(client) as exchange:
                while more := await exchange.some(300.0):
                    got[-1] += more
            assert got[-1] == b"xxxxxxx"
            await pause()
            await pause()
        got.append(b"")
        async with post(client) as exchange:
            got[-1] += await exchange.some(300.0)
            with pytest.raises(EngineBroke, match=r"nothing for 0\.2 s"):
                await exchange.some(0.2)
        assert len(server.connections) == 1


async def test_leaving_an_answer_closes_the_socket_so_that_the_engine_stops() -> None:
    closed = asyncio.Event()

    async def answer(connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        assert await connection.reader.read() == b""
        closed.set()

    async with engine(answer) as (client, _):
        async with post(client) as exchange:
            assert await exchange.some(DEADLINE_S) == b"a"
        await asyncio.wait_for(closed.wait(), DEADLINE_S)
        assert not client._idle


async def test_a_cancelled_wait_closes_the_socket() -> None:
    closed = asyncio.Event()

    async def answer(connection: Connection) -> None:
        assert await connection.reader.read() == b""
        closed.set()

    async with engine(answer) as (client, server):
        asking = asyncio.create_task(body_of(client))
        await wait_until_async("the request", lambda: server.requests)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.wait_for(closed.wait(), DEADLINE_S)


async def test_a_slow_reader_stops_the_engine_instead_of_filling_our_memory() -> None:
    sent, size = 0, 64 * HIGH_WATER_BYTES

    async def answer(connection: Connection) -> None:
        nonlocal sent
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while sent < size:
            await connection.send(bytes(65_536))
            sent += 65_536

    async with engine(answer) as (client, _):
        async with post(client) as exchange:
            await wait_until_async("its buffer to be full", lambda: exchange.connection.unread > HIGH_WATER_BYTES)
            before = -1
            async with asyncio.timeout(DEADLINE_S):
                while before != sent:
                    before = sent
                    await asyncio.sleep(0.05)
            assert exchange.connection.unread <= HIGH_WATER_BYTES + 1_048_576
            assert sent < size
            assert len(await exchange.body(DEADLINE_S, 1 << 27)) == size
        assert len(client._idle) == 1


async def test_a_connection_with_an_answer_that_nobody_read_is_not_used_again() -> None:
    big = 2 * HIGH_WATER_BYTES

    async def answer(connection: Connection) -> None:
        await connection.send(document(bytes(big)) if connection.number == 0 else document(b"x"))

    async with engine(answer) as (client, _):
        async with post(client) as exchange:
            got = 0
            async with asyncio.timeout(DEADLINE_S):
                while got + exchange.connection.unread < big:
                    if exchange.connection.unread > HIGH_WATER_BYTES:
                        got += len(exchange.connection.read())
                    await asyncio.sleep(0.001)
            assert exchange.connection.complete
        assert not client._idle
        assert await body_of(client) == b"x"


@pytest.mark.parametrize("url", ["https://e:1", "http://", "e:1", "http://e:1/v1", "ftp://e"])
def test_an_address_that_is_no_plain_http_host_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected http://host:port"):
        EngineClient(url)


@pytest.mark.parametrize(
    "url", ["http://u:secret@e:1", "http://secret@e", "http://e:1?key=secret", "http://e:1#secret"]
)
def test_an_address_with_a_secret_is_refused_without_it_and_says_where_a_key_belongs(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected http://host:port.*api_key.*--key-variable") as refused:
        EngineClient(url)
    assert "secret" not in str(refused.value)
