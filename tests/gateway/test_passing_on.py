"""What an engine sends is taken in the turn of the loop in which it comes, while its reader sleeps."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from gateway.handoffs import EngineBroke, EngineLied
from tests.gateway.test_connection import engine, post
from tests.support.raw_server import Connection
from tests.support.waiting import DEADLINE_S, wait_until_async

HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf"


async def test_what_is_taken_as_it_comes_wakes_its_reader_only_at_the_end() -> None:
    got, woken = b"", 0

    def take(data: bytes) -> bool:
        nonlocal got
        got += data
        return True

    def is_longer(before: int) -> bool:
        return len(got) > before

    async def answer(connection: Connection) -> None:
        await connection.send(HALF)
        for sent in b"rest":
            before = len(got)
            await connection.send(bytes([sent]))
            await wait_until_async("it to be taken", partial(is_longer, before))

    async with engine(answer) as (client, _), post(client) as exchange:
        while data := await exchange.some(DEADLINE_S):
            got, woken = got + data, woken + 1
            await exchange.pass_on(take, DEADLINE_S)
    assert (got, woken) == (b"halfrest", 1)


async def test_who_takes_no_more_as_it_comes_reads_the_rest() -> None:
    passed: list[bytes] = []
    half_read = asyncio.Event()

    def take(data: bytes) -> bool:
        passed.append(data)
        return False

    async def answer(connection: Connection) -> None:
        await connection.send(HALF)
        await asyncio.wait_for(half_read.wait(), DEADLINE_S)
        await connection.send(b"re")
        await wait_until_async("it to be taken", lambda: passed)
        await connection.send(b"st")

    async with engine(answer) as (client, _), post(client) as exchange:
        assert await exchange.some(DEADLINE_S) == b"half"
        half_read.set()
        await exchange.pass_on(take, DEADLINE_S)
        assert (passed, await exchange.some(DEADLINE_S)) == ([b"re"], b"st")
        assert await exchange.some(DEADLINE_S) == b""


async def test_what_is_raised_over_what_comes_is_raised_to_the_reader() -> None:
    half_read = asyncio.Event()

    def take(data: bytes) -> bool:
        raise EngineLied("too_long", data.decode())

    async def answer(connection: Connection) -> None:
        await connection.send(HALF)
        await asyncio.wait_for(half_read.wait(), DEADLINE_S)
        await connection.send(b"rest")

    async with engine(answer) as (client, _), post(client) as exchange:
        assert await exchange.some(DEADLINE_S) == b"half"
        half_read.set()
        with pytest.raises(EngineLied, match="rest"):
            await exchange.pass_on(take, DEADLINE_S)


async def test_a_silence_is_one_also_while_all_is_taken_as_it_comes() -> None:
    half_read = asyncio.Event()
    got: list[bytes] = []

    def take(data: bytes) -> bool:
        got.append(data)
        return True

    async def answer(connection: Connection) -> None:
        await connection.send(HALF)
        await asyncio.wait_for(half_read.wait(), DEADLINE_S)
        await connection.send(b"re")
        await connection.reader.read()

    async with engine(answer) as (client, _), post(client) as exchange:
        assert await exchange.some(DEADLINE_S) == b"half"
        half_read.set()
        with pytest.raises(EngineBroke, match=r"nothing for 0\.1 s"):
            await exchange.pass_on(take, 0.1)
    assert got == [b"re"]
