"""A document that is made of a stream: whole, whatever its cuts and its texts, or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from gateway.engines.connection import EngineClient, EngineTimeout, EngineUnreachable
from gateway.errors import ApiError, BadRequest, EngineFailed
from gateway.handoffs import EngineBroke, EngineCount
from gateway.steps.forward import Forward
from registry.catalog.snapshot import TariffEntry
from tests.support.admitted import NAME, PUBLIC, Patience, forward_to
from tests.support.forward_parts import all_of
from tests.support.raw_server import Connection, chunked, raw_server

HEAD = {"id": "c-1", "created": 7, "model": NAME}
DETAILS = {"cached_tokens": 4}
COUNTS = {"prompt_tokens": 9, "total_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": DETAILS}
DONE = b"data: [DONE]\n\n"
NASTY = 'say "logprobs":{"content":[ ]},"finish_reason":"stop" ],"tokens":[ 😀\n\ndata: {"error"'
"""A text that has all that an answer is cut at."""


def event(*choices: dict[str, Any], usage: dict[str, Any] | None = None, **more: Any) -> bytes:
    counted = {} if usage is None else {"usage": usage}
    return b"data: " + orjson.dumps({**HEAD, "choices": choices, **counted, **more}) + b"\n\n"


def running(completion: int) -> dict[str, int]:
    return {"prompt_tokens": 9, "total_tokens": 9 + completion, "completion_tokens": completion}


def said(text: str, completion: int, *, index: int = 0, scores: Any = None, **ending: Any) -> bytes:
    ending = {"finish_reason": None, **ending}
    return event({"index": index, "delta": {"content": text}, "logprobs": scores, **ending}, usage=running(completion))


def written(text: str, completion: int, *, index: int = 0, scores: Any = None, **ending: Any) -> bytes:
    ending = {"finish_reason": None, **ending}
    return event({"index": index, "text": text, "logprobs": scores, **ending}, usage=running(completion))


ROLE = event(
    {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None},
    usage=running(0),
)
USAGE = event(usage=COUNTS)
PLAIN = ROLE + b": keep-alive\n\n" + said("grüße ", 1) + said(NASTY, 3, finish_reason="stop") + USAGE + DONE


@asynccontextmanager
async def assembling(
    data: bytes, *, endpoint: str = "chat", pieces: int = 10_000, body: dict[str, Any] | None = None, **fields: Any
) -> AsyncIterator[tuple[Forward, EngineCount]]:
    """The step, entered, over an engine that answers in pieces of that many bytes."""

    async def answer(connection: Connection) -> None:
        await connection.send_in_pieces(data, pieces)

    async with raw_server(answer) as server:
        client, count = EngineClient(server.url), EngineCount()
        try:
            given = {"messages": []} if body is None else body
            async with forward_to(client, given, count, endpoint=endpoint, assembled=True, **fields) as forward:
                yield forward, count
        finally:
            client.close()


async def assembled(data: bytes, **given: Any) -> dict[str, Any]:
    async with assembling(data, **given) as (forward, _):
        assert await all_of(forward) == []
        whole: dict[str, Any] = orjson.loads(forward.reader.rest())
    return whole


@pytest.mark.parametrize("pieces", [1, 2, 7, 64, 10_000])
async def test_a_document_is_the_same_whatever_the_pieces_its_stream_comes_in(pieces: int) -> None:
    async with assembling(chunked(PLAIN), pieces=pieces) as (forward, count):
        assert await all_of(forward) == []
        assert orjson.loads(forward.reader.rest()) == (
            {
                "id": "c-1",
                "object": "chat.completion",
                "created": 7,
                "model": PUBLIC,
                "choices": [
                    {
                        "index": 0,
                        "message": {
                            "role": "assistant",
                            "content": f"grüße {NASTY}",
                            "refusal": None,
                            "annotations": None,
                            "audio": None,
                            "function_call": None,
                        },
                        "logprobs": None,
                        "finish_reason": "stop",
                    }
                ],
                "service_tier": None,
                "system_fingerprint": None,
                "usage": {**COUNTS, "completion_tokens_details": None},
            }
        )
    assert (count.prompt_tokens, count.cached_tokens, count.completion_tokens, count.source) == (9, 4, 3, "engine")
    assert count.began_s is None, "nobody got a first byte of it before the last"


def score(token: str) -> dict[str, Any]:
    return {"token": token, "logprob": -0.25, "bytes": [*token.encode()], "top_logprobs": []}


async def test_log_probabilities_of_all_chunks_are_one_list_whatever_the_tokens_are_called() -> None:
    tokens = ["grüße ", NASTY, ']},"finish_reason":', "]}"]
    chunks = [
        said(token, min(number, 2) + 1, scores={"content": [score(token)]}) for number, token in enumerate(tokens)
    ]
    last = said("", 3, scores={"content": []}, finish_reason="length")
    (choice,) = (await assembled(chunked(b"".join((ROLE, *chunks, last, USAGE, DONE)))))["choices"]
    assert choice["logprobs"] == {"content": [score(token) for token in tokens]}
    assert choice["message"]["content"] == "".join(tokens)


async def test_log_probabilities_of_completions_are_four_lists() -> None:
    tokens = ["tokens", "top_logprobs", NASTY, '],"top_logprobs":[', "]}", "logprobs"]

    def scores(place: int, *names: str) -> dict[str, Any]:
        tops = [{name: -0.5} for name in names]
        return {
            "text_offset": [place] * len(names),
            "token_logprobs": [-0.5] * len(names),
            "tokens": names,
            "top_logprobs": tops,
        }

    chunks = [written(tokens[0], 1, scores=scores(0, tokens[0])), written("", 1, scores=scores(1))]
    chunks += [written("x", 3, scores=scores(1, *tokens[1:]), finish_reason="length", stop_reason=None)]
    data = b"".join((*chunks, USAGE, DONE))
    (choice,) = (await assembled(chunked(data), endpoint="completions", body={"prompt": "x"}))["choices"]
    assert choice["logprobs"] == {
        "text_offset": [0, 1, 1, 1, 1, 1],
        "token_logprobs": [-0.5] * 6,
        "tokens": tokens,
        "top_logprobs": [{name: -0.5} for name in tokens],
    }


async def test_choices_stand_in_their_order_with_what_each_has_of_its_own() -> None:
    chunks = [
        written("b", 1, index=1, prompt_token_ids=[2], token_ids=[20]),
        written("a", 1, index=0, prompt_token_ids=[1], token_ids=[10]),
        written("A", 2, index=0, token_ids=[11], finish_reason="stop", stop_reason="\n"),
        written("B", 2, index=1, token_ids=[21], finish_reason="length", stop_reason=None),
    ]
    body = {"prompt": ["x", "y"], "return_token_ids": True}
    counts = event(usage={"prompt_tokens": 18, "total_tokens": 22, "completion_tokens": 4})
    whole = await assembled(chunked(b"".join((*chunks, counts, DONE))), endpoint="completions", body=body, choices=2)
    assert whole["object"] == "text_completion"
    assert whole["choices"] == [
        {
            "index": 0,
            "text": "aA",
            "logprobs": None,
            "finish_reason": "stop",
            "stop_reason": "\n",
            "token_ids": [10, 11],
            "prompt_token_ids": [1],
        },
        {
            "index": 1,
            "text": "bB",
            "logprobs": None,
            "finish_reason": "length",
            "token_ids": [20, 21],
            "prompt_token_ids": [2],
        },
    ]


async def test_thoughts_stand_beside_the_text_and_without_a_text_it_is_null() -> None:
    def thought(reasoning: str) -> bytes:
        return event({"index": 0, "delta": {"reasoning": reasoning}, "finish_reason": None}, usage=running(1))

    ending = said("", 3, finish_reason="length") + USAGE + DONE
    (choice,) = (await assembled(chunked(ROLE + thought("a") + thought("b") + ending)))["choices"]
    assert (choice["message"]["reasoning"], choice["message"]["content"]) == ("ab", None)
    (choice,) = (await assembled(chunked(ROLE + thought("a") + said("x", 2) + ending)))["choices"]
    assert (choice["message"]["reasoning"], choice["message"]["content"]) == ("a", "x")
    (choice,) = (await assembled(chunked(ROLE + ending)))["choices"]
    assert "reasoning" not in choice["message"]
    assert choice["message"]["content"] == "", "an empty answer is an empty text"


async def test_a_call_that_an_engine_sees_where_there_are_no_tools_is_none() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    seen = event({"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}, usage=running(1))
    ending = said("", 3, finish_reason="tool_calls") + USAGE + DONE
    (choice,) = (await assembled(chunked(ROLE + seen + ending)))["choices"]
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"


async def test_the_cost_stands_in_the_usage_of_who_asked_for_it() -> None:
    price = TariffEntry(0, 1_000_000_000, 0, 2_000_000_000)
    whole = await assembled(chunked(PLAIN), shows_cost=True, price=price)
    assert whole["usage"]["cost"] > 0
    assert (await assembled(chunked(PLAIN), shows_cost=True))["usage"]["cost"] is None
    assert "cost" not in (await assembled(chunked(PLAIN), price=price))["usage"]


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.removesuffix(DONE),
        ROLE + said("x", 1) + USAGE + DONE,
        ROLE + said("x", 1, finish_reason="stop") + DONE,
        USAGE + DONE,
        DONE,
        ROLE + said("x", 1, index=1, finish_reason="stop") + USAGE + DONE,
        ROLE + b"data: {\n\n",
        ROLE + said("x", 1, finish_reason="abort") + USAGE + DONE,
        ROLE + said("x", 1, scores={"other": []}, finish_reason="stop") + USAGE + DONE,
        ROLE + event({"index": 0}, usage=running(1)) + DONE,
        ROLE + event({"index": 0, "delta": {"content": 5}, "finish_reason": "stop"}, usage=running(1)) + USAGE + DONE,
        b'{"id": "c-1", "choices": []}',
    ],
)
async def test_what_is_not_whole_is_no_document(data: bytes) -> None:
    with pytest.raises(EngineBroke):
        await assembled(chunked(data))


async def test_what_came_before_an_engine_broke_is_counted() -> None:
    async with assembling(chunked(ROLE + said("x", 2))) as (forward, count):
        with pytest.raises(EngineBroke):
            await all_of(forward)
    assert (count.prompt_tokens, count.completion_tokens, count.source) == (9, 2, "partial")


def refusal(code: Any, message: str = "no", param: str | None = None) -> bytes:
    error = {"message": message, "type": "t", "param": param, "code": code}
    return b"data: " + orjson.dumps({"error": error}) + b"\n\n"


@pytest.mark.parametrize(
    ("data", "kind", "status", "param", "sent"),
    [
        (refusal(400, param="logit_bias"), BadRequest, 400, "logit_bias", False),
        (refusal(422), BadRequest, 400, None, False),
        (refusal(500, "Internal server error"), EngineFailed, 502, None, True),
        (ROLE + said("x", 2) + refusal(500, "Internal server error"), EngineFailed, 502, None, True),
        (refusal(500, "EngineCore encountered an issue"), EngineUnreachable, None, None, True),
        (refusal(503, "full"), EngineUnreachable, None, None, True),
        (refusal("odd"), EngineFailed, 502, None, True),
    ],
)
async def test_an_event_that_refuses_is_the_refusal_that_it_would_be_without_a_stream(
    data: bytes, kind: type[Exception], status: int | None, param: str | None, sent: bool
) -> None:
    async with assembling(chunked(data + DONE)) as (forward, count):
        with pytest.raises(kind) as caught:
            await all_of(forward)
    if isinstance(caught.value, ApiError):
        assert (caught.value.status, caught.value.param) == (status, param)
    assert count.sent is sent, "what is refused has cost the engine nothing"


async def test_an_answer_that_goes_on_for_too_long_is_given_up_though_the_engine_speaks() -> None:
    async def answer(connection: Connection) -> None:
        await connection.send(chunked(ROLE).removesuffix(b"0\r\n\r\n"))
        for number in range(10_000):
            data = said("x", number + 1)
            await connection.send(b"%x\r\n%b\r\n" % (len(data), data))

    async with raw_server(answer) as server:
        client, count = EngineClient(server.url), EngineCount()
        with pytest.raises(EngineTimeout):
            async with forward_to(
                client, {"messages": []}, count, assembled=True, patience=Patience(answer_timeout_s=0.2)
            ) as forward:
                await all_of(forward)
        assert count.source == "partial"
        client.close()
