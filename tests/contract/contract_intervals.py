"""Contract cases about streams whose chunks have several tokens: the gateway makes whole answers of them."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from tests.contract.contract_engine import MESSAGES, PROMPT, EngineUnderTest, chunks, error, events

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
ASKED: dict[str, dict[str, Any]] = {CHAT: {"messages": MESSAGES}, TEXT: {"prompt": PROMPT}}
COUNTED = {"include_usage": True, "continuous_usage_stats": True}


def speaking(found: list[Any]) -> list[Any]:
    """Those that have tokens."""
    return [chunk for chunk in found if chunk["choices"] and chunk["choices"][0].get("token_ids")]


def counts_in(found: list[Any]) -> list[int]:
    """How many tokens there are so far, by each of those."""
    return [chunk["usage"]["completion_tokens"] for chunk in speaking(found)]


def by_answer(found: list[Any]) -> dict[int, list[int]]:
    """The same of several answers."""
    seen: dict[int, list[int]] = {}
    for chunk in found:
        for choice in chunk["choices"]:
            seen.setdefault(choice["index"], []).append(chunk["usage"]["completion_tokens"])
    return seen


def fits(engine: EngineUnderTest, seen: list[int], counts: list[int]) -> bool:
    """Whether it was counted up where chunks end, to the last; of those that were read late several may come as one."""
    if not engine.joins_chunks:
        return seen == counts
    return seen == sorted(set(seen) & set(counts)) and seen[-1] == counts[-1]


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize(("tokens", "counts"), [(1, [1]), (5, [1, 5]), (6, [1, 5, 6]), (9, [1, 5, 9])])
async def test_the_first_chunk_has_one_token_and_others_have_the_interval(
    engine: EngineUnderTest, path: str, tokens: int, counts: list[int]
) -> None:
    body = {"model": engine.base, **ASKED[path], "max_tokens": tokens, "ignore_eos": True, "return_token_ids": True}
    body |= {"stream_options": COUNTED, "stream_interval": 4}
    found = await chunks(engine, path, body)
    said, seen = speaking(found), counts_in(found)
    assert fits(engine, seen, counts)
    assert [len(chunk["choices"][0]["token_ids"]) for chunk in said] == [
        count - before for before, count in pairwise([0, *seen])
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in said] == [None] * (len(seen) - 1) + ["length"]
    assert found[-1]["usage"]["completion_tokens"] == tokens


async def test_each_of_several_answers_has_its_interval(engine: EngineUnderTest) -> None:
    body = {"model": engine.base, "prompt": [PROMPT, "Berlin is"], "n": 2, "temperature": 1, "seed": 1, "max_tokens": 6}
    body |= {"ignore_eos": True, "stream_options": COUNTED, "stream_interval": 4}
    seen = by_answer(await chunks(engine, TEXT, body))
    assert sorted(seen) == [0, 1, 2, 3]
    assert all(fits(engine, counts, [1, 5, 6]) for counts in seen.values()), seen


async def test_an_interval_of_nothing_is_a_400(engine: EngineUnderTest) -> None:
    assert error(await engine.complete(stream=True, stream_interval=0)) == (400, "Bad Request", "body.stream_interval")


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (TEXT, {"prompt": [99_999_999]}, None),
        (TEXT, {"logprobs": 50}, "logprobs"),
        (CHAT, {"logprobs": True, "top_logprobs": 50}, "logprobs"),
        (CHAT, {"structured_outputs": {"json": {"type": "nonsense"}}}, None),
    ],
)
async def test_what_is_refused_when_it_is_queued_is_refused_in_the_stream_with_the_status_that_it_has_otherwise(
    engine: EngineUnderTest, path: str, fields: dict[str, Any], param: str | None
) -> None:
    body = {"model": engine.base, **ASKED[path], "max_tokens": 2, **fields}
    whole = await engine.http.post(path, json=body)
    assert error(whole) == (400, "BadRequestError", param)
    (said,) = [json.loads(data) async for data in events(engine, path, body)]
    assert said == whole.json()
