"""From the engine's bytes to the client's: whole events, public names, usage seen, whatever the cuts."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from gateway.engines.connection import EngineClient, EngineTimeout
from gateway.errors import ApiError, EngineFailed
from gateway.handoffs import EngineBroke, ShownUsage
from registry.catalog.snapshot import TariffEntry
from tests.support.admitted import NAME, PUBLIC
from tests.support.forward_parts import (
    COUNTS,
    DONE,
    SEEN,
    STREAM,
    TRICKY,
    USAGE,
    all_of,
    event,
    forwarded,
    public,
    read_into,
    seen,
    token,
)
from tests.support.raw_server import Connection, chunked, document, raw_server


async def test_the_engine_is_asked_for_its_own_name_with_the_tenants_salt_and_our_request_id() -> None:
    async with forwarded(chunked(STREAM)) as (forward, _, server):
        await all_of(forward)
    head, body = server.requests[0]
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"\r\nX-Request-Id: r1\r\n" in head
    assert b"\r\nAuthorization: Bearer secret\r\n" in head
    assert orjson.loads(body) == {"messages": [], "stream": True, "model": NAME, "cache_salt": "acme"}


async def test_a_stream_is_the_same_whatever_the_pieces_it_comes_in() -> None:
    expected = public(STREAM.replace(USAGE, b""))
    assert NAME.encode() in expected, "the name within a text is the client's own"
    for size in (*range(1, 80), len(STREAM) - 1, len(STREAM)):
        async with forwarded(chunked(STREAM), pieces=size) as (forward, usage, _):
            chunks = await all_of(forward)
        assert b"".join(chunks) == expected, size
        assert all(chunk.endswith(b"\n\n") for chunk in chunks), "only whole events are sent"
        assert seen(usage) == SEEN


async def test_a_stream_is_the_same_wherever_it_is_cut_in_two() -> None:
    expected = public(STREAM)
    for cut in range(1, len(STREAM)):
        async with forwarded(chunked(STREAM[:cut], STREAM[cut:]), shows_usage="at the end") as (forward, usage, _):
            assert b"".join(await all_of(forward)) == expected, cut
        assert seen(usage) == SEEN


def counted(text: str, completion: int, *, index: int = 0) -> bytes:
    """A token with a running count, as vLLM writes it."""
    choice = {"index": index, "delta": {"content": text}}
    usage = {"prompt_tokens": 9, "total_tokens": 9 + completion, "completion_tokens": completion}
    return event({"id": "c-1", "model": NAME, "choices": [choice], "usage": usage})


RUNNING = counted("x", 1) + counted(TRICKY, 2)


@pytest.mark.parametrize("pieces", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("shows", "expected"),
    [
        ("never", token("x") + token(TRICKY) + DONE),
        ("at the end", token("x") + token(TRICKY) + USAGE + DONE),
        ("always", RUNNING + USAGE + DONE),
    ],
)
async def test_a_client_sees_as_much_of_the_count_as_it_asked_for(
    shows: ShownUsage, expected: bytes, pieces: int
) -> None:
    async with forwarded(chunked(RUNNING + USAGE + DONE), pieces=pieces, shows_usage=shows) as (forward, usage, _):
        assert b"".join(await all_of(forward)) == public(expected)
    assert seen(usage) == SEEN


def said(text: str, completion: int, *, name: str = NAME) -> bytes:
    """An event as vLLM writes nearly all of a chat."""
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None, "token_ids": None}
    usage = {"prompt_tokens": 9, "total_tokens": 9 + completion, "completion_tokens": completion}
    head = {"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": name}
    return event({**head, "choices": [choice], "usage": usage})


def shown(text: str) -> bytes:
    """The same as the client gets it."""
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    return event({"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": PUBLIC, "choices": [choice]})


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("pieces", [1, 50, 10_000])
async def test_events_of_text_reach_who_is_waited_for_and_who_is_not(pieces: int, waits: bool) -> None:
    texts = ["Hi", "", TRICKY, "\\", 'a "quote"']
    stream = b"".join(said(text, 1) for text in texts)
    async with forwarded(chunked(stream + USAGE + DONE), pieces=pieces) as (forward, usage, _):
        got: list[bytes] = []
        await read_into(got, forward, waits=waits)
    assert b"".join(got) == b"".join(map(shown, texts)) + DONE
    assert seen(usage) == SEEN


async def test_an_event_of_text_for_another_model_is_nobodys() -> None:
    async with forwarded(chunked(said("Hi", 1) + said("no", 2, name="another") + DONE)) as (forward, _, _):
        got: list[bytes] = []
        with pytest.raises(EngineBroke, match="not signed"):
            await read_into(got, forward)
    assert b"another" not in b"".join(got)


async def test_a_count_that_shrinks_ends_a_stream_of_text() -> None:
    async with forwarded(chunked(said("Hi", 5), said("no", 4), DONE), pieces=50) as (forward, usage, _):
        with pytest.raises(EngineBroke, match="smaller"):
            await all_of(forward)
    assert seen(usage) == (9, None, 5, "partial")


async def test_a_stream_that_breaks_off_has_the_count_of_what_was_relayed() -> None:
    async with forwarded(chunked(RUNNING)) as (forward, usage, _):
        with pytest.raises(EngineBroke):
            await all_of(forward)
    assert seen(usage) == (9, None, 2, "partial")


async def test_running_counts_of_several_prompts_are_added_up() -> None:
    data = counted("a", 1) + counted("b", 1, index=1) + counted("a", 2) + counted("b", 3, index=1)
    async with forwarded(chunked(data), choices=2) as (forward, usage, _):
        with pytest.raises(EngineBroke):
            await all_of(forward)
    assert seen(usage) == (18, None, 5, "partial"), "two prompts with an answer each"


@pytest.mark.parametrize("data", [STREAM[: -len(DONE)], token("x"), token("x")[:-1], b""])
async def test_a_stream_without_its_end_is_an_error_after_what_had_come(data: bytes) -> None:
    async with forwarded(chunked(*([data] if data else []))) as (forward, _, _):
        got: list[bytes] = []
        with pytest.raises(EngineBroke):
            await read_into(got, forward)
    whole = data[: data.rfind(b"\n\n") + 2] if b"\n\n" in data else b""
    assert b"".join(got) == public(whole.replace(USAGE, b""))


async def test_a_connection_that_closes_in_the_middle_is_a_break() -> None:
    async with forwarded(chunked(token("x"), DONE)[:-40], close=True) as (forward, _, _):
        with pytest.raises(EngineBroke):
            await all_of(forward)


@pytest.mark.parametrize("pieces", [1, 10_000])
async def test_an_error_event_ends_the_stream_after_what_came_before_it(pieces: int) -> None:
    error = b'data: {"error": {"message": "adapter %b failed", "type": "x", "code": 500}}\n\n' % NAME.encode()
    async with forwarded(chunked(token("a") + token("b") + error + DONE), pieces=pieces) as (forward, _, _):
        got: list[bytes] = []
        with pytest.raises(ApiError) as caught:
            await read_into(got, forward)
    assert b"".join(got) == public(token("a") + token("b"))
    assert caught.value.status == 502
    assert PUBLIC in caught.value.message
    assert NAME not in caught.value.message


NO_COUNTS = [
    {},
    {"prompt_tokens": "9", "completion_tokens": 2},
    {"prompt_tokens": 9, "completion_tokens": None},
    {"prompt_tokens": 9.0, "completion_tokens": 2},
    {"prompt_tokens": 9, "completion_tokens": True},
    {"prompt_tokens": -9, "completion_tokens": 2},
    {"prompt_tokens": 9, "completion_tokens": -2},
    {"prompt_tokens": 9, "completion_tokens": 1 << 40},
]
NO_FINAL_COUNTS = [
    *NO_COUNTS,
    COUNTS | {"prompt_tokens_details": {"cached_tokens": -1}},
    COUNTS | {"prompt_tokens_details": [4]},
]


@pytest.mark.parametrize(
    "bad",
    [
        b'data: {"id":1,"usage":{"a"\n\n',
        b'data: {"error"\n\n',
        *(token("b", usage=counts) for counts in NO_COUNTS),
        *(event({"id": 1, "model": NAME, "choices": [], "usage": counts}) for counts in NO_FINAL_COUNTS),
    ],
)
async def test_an_event_that_cannot_be_understood_ends_the_answer(bad: bytes) -> None:
    async with forwarded(chunked(token("a") + bad + DONE)) as (forward, _, _):
        with pytest.raises((EngineBroke, EngineFailed)):
            await all_of(forward)


WHOLE = orjson.dumps(
    {"id": "c-1", "model": NAME, "choices": [{"message": {"content": f'"model":"{NAME}"'}}], "usage": COUNTS}
)


async def test_a_document_is_the_same_whatever_the_pieces_it_comes_in() -> None:
    for size in (*range(1, 50), len(WHOLE)):
        async with forwarded(document(WHOLE), pieces=size, stream=False) as (forward, usage, _):
            chunks = await all_of(forward)
        assert chunks == [public(WHOLE)]
        assert seen(usage) == SEEN
    answer = orjson.loads(public(WHOLE))
    assert answer["model"] == PUBLIC
    assert answer["choices"][0]["message"]["content"] == f'"model":"{NAME}"', "what the model said is not touched"


@pytest.mark.parametrize(
    ("price", "shown"),
    [
        (None, b"null"),
        (TariffEntry(0, 0, 0, 0), b"0"),
        (TariffEntry(0, 0, 0, 500_000), b"0.000000001"),
        (TariffEntry(0, 10**9, 10**8, 10**10), b"0.0000254"),
        (TariffEntry(0, 2 * 10**14, 0, 10**15), b"3"),
    ],
)
async def test_the_cost_is_shown_in_exact_decimals_to_whom_asks_and_nothing_else_changes(
    price: TariffEntry | None, shown: bytes
) -> None:
    def priced(data: bytes) -> bytes:
        before = b'"prompt_tokens_details":{"cached_tokens":4}'
        return public(data).replace(before, before + b',"cost":' + shown)

    async with forwarded(document(WHOLE), stream=False, shows_cost=True, price=price) as (forward, _, _):
        assert await all_of(forward) == [priced(WHOLE)]
    data = chunked(RUNNING + USAGE + DONE)
    async with forwarded(data, shows_usage="at the end", shows_cost=True, price=price) as (forward, _, _):
        assert b"".join(await all_of(forward)) == public(token("x") + token(TRICKY)) + priced(USAGE) + DONE
    async with forwarded(data, shows_usage="always", shows_cost=True, price=price) as (forward, _, _):
        assert b"".join(await all_of(forward)) == public(RUNNING) + priced(USAGE) + DONE


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"{}", b'{"usage":null}', b'{"usage":[]}'),
        *(orjson.dumps({"usage": counts}) for counts in NO_FINAL_COUNTS),
    ],
)
async def test_a_document_that_cannot_be_understood_is_an_answer_that_broke(body: bytes) -> None:
    async with forwarded(document(body), stream=False) as (forward, _, _):
        with pytest.raises(EngineBroke):
            await all_of(forward)


async def test_no_more_of_a_prompt_was_cached_than_it_had() -> None:
    body = orjson.dumps(
        {"id": "a", "model": NAME, "usage": COUNTS | {"prompt_tokens_details": {"cached_tokens": 1_000}}}
    )
    async with forwarded(document(body), stream=False) as (forward, usage, _):
        await all_of(forward)
    assert seen(usage) == (9, 9, 2, "engine")


async def test_a_stream_whose_head_comes_at_once_may_take_as_long_to_begin_as_one_whose_head_does_not() -> None:
    async def answer(connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asyncio.sleep(0.3)
        await connection.send(chunked(token("x") + DONE).partition(b"\r\n\r\n")[2])

    async with raw_server(answer) as server:
        for patience_s, idle_s, fault in ((5.0, 0.2, None), (0.1, 5.0, EngineTimeout), (0.1, 0.1, EngineTimeout)):
            client = EngineClient(server.url, None)
            async with client.request(b"/", b"", (b"{}",), head_timeout_s=patience_s) as exchange:
                if fault is None:
                    assert await exchange.body(idle_s, 1 << 27) == token("x") + DONE
                else:
                    with pytest.raises(fault):
                        await exchange.body(idle_s, 1 << 27)
            client.close()
