"""An engine's answers in pieces, and the step that relays them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from gateway.engines.connection import EngineClient
from gateway.handoffs import EngineCount, ShownUsage
from gateway.steps.forward import Forward
from registry.catalog.snapshot import TariffEntry
from tests.support.admitted import NAME, PUBLIC, forward_to
from tests.support.raw_server import Connection, RawServer, raw_server

COUNTS = {"prompt_tokens": 9, "total_tokens": 11, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
SEEN = (9, 4, 2, "engine")


def seen(usage: EngineCount) -> tuple[int | None, int | None, int | None, str | None]:
    return usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.source


def event(document: Any) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


def token(text: str, **more: Any) -> bytes:
    return event({"id": "c-1", "model": NAME, "choices": [{"index": 0, "delta": {"content": text}}], **more})


USAGE = event({"id": "c-1", "model": NAME, "choices": [], "usage": COUNTS})
DONE = b"data: [DONE]\n\n"
TRICKY = f'say "model":"{NAME}" or {{"usage":{{}}}} \n\ndata: {{"error"'
COMMENT = b": keep-alive\n\n"
STREAM = COMMENT + token("grüße 😀") + COMMENT + COMMENT + token(TRICKY) + USAGE + DONE


def public(data: bytes) -> bytes:
    """With our name, and without the engine's signs of life."""
    return data.replace(COMMENT, b"").replace(b'"model":"%b"' % NAME.encode(), b'"model":"%b"' % PUBLIC.encode())


@asynccontextmanager
async def forwarded(
    data: bytes,
    *,
    pieces: int = 10_000,
    stream: bool = True,
    shows_usage: ShownUsage = "never",
    shows_cost: bool = False,
    price: TariffEntry | None = None,
    choices: int = 1,
    close: bool = False,
) -> AsyncIterator[tuple[Forward, EngineCount, RawServer]]:
    """The step, entered, over a server that answers `data` in pieces of that many bytes."""

    async def answer(connection: Connection) -> None:
        await connection.send_in_pieces(data, pieces)
        if close:
            connection.writer.close()

    async with raw_server(answer) as server:
        client, usage = EngineClient(server.url, "secret"), EngineCount()
        try:
            async with forward_to(
                client,
                {"messages": [], "stream": stream},
                usage,
                price=price,
                shows_usage=shows_usage,
                shows_cost=shows_cost,
                choices=choices,
            ) as forward:
                yield forward, usage, server
        finally:
            client.close()


async def read_into(got: list[bytes], forward: Forward, *, waits: bool = False) -> None:
    """Of a client who is waited for each time, or never."""

    async def feed(chunk: bytes) -> None:
        got.append(chunk)

    def feed_now(chunk: bytes) -> bool:
        if not waits:
            got.append(chunk)
        return not waits

    await forward.relay(feed, feed_now)


async def all_of(forward: Forward) -> list[bytes]:
    got: list[bytes] = []
    await read_into(got, forward)
    return got
