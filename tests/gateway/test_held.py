"""Long documents: what one tenant is sent makes nobody else wait."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from gateway.api.asgi import Message
from gateway.api.held import PIECE_BYTES, send_pieces
from gateway.turns import LoopTurns


async def test_of_a_tenants_long_documents_one_piece_is_sent_in_each_turn_of_the_loop() -> None:
    house: Any = SimpleNamespace(door=SimpleNamespace(turns=LoopTurns()))
    sent: list[str] = []
    bodies: list[bytes] = []

    async def send_all(tenant: str, pieces: int) -> None:
        async def send(message: Message) -> None:
            sent.append(tenant)
            bodies.append(bytes(message["body"]))

        await send_pieces(house, tenant, tenant.encode() * PIECE_BYTES * pieces, send)

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
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
