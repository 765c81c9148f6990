"""Answers with vectors are relayed in the pieces in which they come: only their ends are looked at."""

from __future__ import annotations

import orjson
import pytest

from gateway.engines.connection import EngineClient
from gateway.handoffs import EngineBroke, EngineCount
from gateway.steps.forward import END_BYTES
from tests.support.admitted import NAME, PUBLIC, forward_to
from tests.support.forward_parts import all_of
from tests.support.raw_server import Connection, chunked, document, raw_server

BODY = {"input": ["x"]}
COUNT = {
    "prompt_tokens": 9, "total_tokens": 9, "completion_tokens": 0, "prompt_tokens_details": None,
    "completion_tokens_details": None,
}  # fmt: skip


def answer(vectors: int, **more: object) -> bytes:
    data = [{"index": at, "object": "embedding", "embedding": [at / 7, -0.5]} for at in range(vectors)]
    return orjson.dumps({"id": "embd-r", "object": "list", "created": 1, "model": NAME, "data": data, **more})


async def relayed(data: bytes, pieces: int = 10_000) -> tuple[list[bytes], EngineCount]:
    async def send(connection: Connection) -> None:
        await connection.send_in_pieces(data, pieces)
        connection.writer.close()

    count = EngineCount()
    async with raw_server(send) as server:
        client = EngineClient(server.url, None)
        try:
            async with forward_to(client, BODY, count, endpoint="embeddings") as forward:
                return await all_of(forward), count
        finally:
            client.close()


@pytest.mark.parametrize("vectors", [1, 40, 60, 80, 3_000])
@pytest.mark.parametrize("pieces", [1_000, 1_999, 65_536])
async def test_it_is_the_engines_with_our_name_and_the_count_in_openais_form(vectors: int, pieces: int) -> None:
    chunks, count = await relayed(document(answer(vectors, usage=COUNT)), pieces)
    counted = {"prompt_tokens": 9, "total_tokens": 9}
    assert b"".join(chunks) == answer(vectors, usage=counted).replace(NAME.encode(), PUBLIC.encode())
    assert (count.prompt_tokens, count.completion_tokens, count.source) == (9, 0, "engine")


async def test_a_long_one_is_never_joined() -> None:
    whole = answer(100_000, usage=COUNT)
    chunks, _ = await relayed(document(whole), 65_536)
    assert len(chunks) > 5
    assert max(map(len, chunks)) < len(whole) / 2
    assert len(chunks[-1]) <= 2 * END_BYTES


@pytest.mark.parametrize("vectors", [1, 3_000])
@pytest.mark.parametrize(
    "usage", [None, {"total_tokens": 9}, {"prompt_tokens": "9"}, {"prompt_tokens": -1}, {"prompt_tokens": 2**60}]
)
async def test_without_a_count_it_is_no_answer(vectors: int, usage: dict[str, object] | None) -> None:
    with pytest.raises(EngineBroke):
        await relayed(document(answer(vectors) if usage is None else answer(vectors, usage=usage)))


async def test_an_answer_that_ends_in_the_middle_is_none() -> None:
    whole = answer(3_000, usage=COUNT)
    for cut in (document(whole)[:-1], document(whole)[: len(whole) // 2], chunked(whole)[:-7]):
        with pytest.raises(EngineBroke):
            await relayed(cut)
