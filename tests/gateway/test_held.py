"""Long documents and bodies: what one tenant is sent, or sends, makes nobody else wait."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from gateway.api.asgi import ON_DISCONNECT, ON_HELD_BACK, ON_KNOWN, Message
from gateway.api.body_clock import BodyBounds, BodyClock
from gateway.api.client import PIECE_BYTES as LONG_PIECE
from gateway.api.client import Client
from gateway.api.held import PIECE_BYTES, send_pieces
from gateway.bytes_in_flight import HeldBytes
from gateway.turns import LoopTurns
from tests.support.waiting import DEADLINE_S


async def test_of_a_tenants_long_bodies_one_piece_is_read_in_each_turn_of_the_loop() -> None:
    clock = BodyClock(BodyBounds(1 << 30, 60.0, 1.0))
    read: list[str] = []

    async def read_all(tenant: str, pieces: int, piece_bytes: int) -> int:
        left = pieces

        async def receive() -> Message:
            nonlocal left
            left -= 1
            read.append(tenant)
            return {"type": "http.request", "body": bytes(piece_bytes), "more_body": left > 0}

        hooks = {name: lambda _call: None for name in (ON_DISCONNECT, ON_KNOWN, ON_HELD_BACK)}
        client = Client({"extensions": hooks}, receive, clock)
        return len(await client.body(HeldBytes(None, tenant)))

    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        long = [group.create_task(read_all("a", 10, LONG_PIECE)) for _ in range(12)]
        short = group.create_task(read_all("c", 100, LONG_PIECE - 1))
        await asyncio.sleep(0)  # the first piece of each, the first turn, and all of what comes in short ones
        assert (read.count("a"), read.count("c")) == (13, 100)
        other = group.create_task(read_all("b", 3, LONG_PIECE))
        turns_of_b = []
        while len(read) < 223:
            before = len(read)
            await asyncio.sleep(0)
            assert read[before:].count("a") <= 1
            turns_of_b.append(read[before:].count("b"))
    assert sum(turns_of_b[:8]) == 3, "whoever sends little does not wait for it"
    assert [one.result() for one in (*long, short, other)] == [
        *[10 * LONG_PIECE] * 12,
        100 * (LONG_PIECE - 1),
        3 * LONG_PIECE,
    ]


async def test_of_a_tenants_long_documents_one_piece_is_sent_in_each_turn_of_the_loop() -> None:
    house: Any = SimpleNamespace(door=SimpleNamespace(turns=LoopTurns()))
    sent: list[str] = []
    bodies: list[bytes] = []

    async def send_all(tenant: str, pieces: int) -> None:
        async def send(message: Message) -> None:
            sent.append(tenant)
            bodies.append(bytes(message["body"]))

        await send_pieces(house, tenant, tenant.encode() * PIECE_BYTES * pieces, send)

    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        for _ in range(12):
            group.create_task(send_all("a", 10))
        group.create_task(send_all("b", 3))
        turns_of_b = []
        while len(sent) < 123:
            before = len(sent)
            await asyncio.sleep(0)
            assert sent[before:].count("a") <= 1
            turns_of_b.append(sent[before:].count("b"))
    assert sum(turns_of_b[:8]) == 3, "whoever is sent little does not wait for it"
    assert b"".join(bodies).count(b"a") == 120 * PIECE_BYTES
