"""Engines that say what no engine should, in every place of an answer: the client gets an answer or an error that names
the engine, never a failure of the gateway's own, nor an event that nobody began.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.errors import EngineFailed
from gateway.handoffs import AnswerReader, EngineBroke, EngineCount
from tests.support.admitted import admitted
from tests.support.forward_parts import DONE, event

MESSAGES = [{"role": "user", "content": "Hi"}]
BODIES: dict[str, dict[str, Any]] = {
    "responses": {"input": "Hi"},
    "messages": {"messages": MESSAGES, "max_tokens": 5},
    "chat": {"messages": MESSAGES},
    "completions": {"prompt": "Hi"},
}
ODD: tuple[Any, ...] = (
    None,
    5,
    -1,
    1e308,
    True,
    "",
    "x\n\ndata: y\n\n",
    [],
    {},
    [1],
    [None],
    [{}],
    {"a": 1},
    {"content": [1]},
)
GONE = object()
USED = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
DETAILS = {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 1}}
SCORE = {"token": "a", "logprob": -1.0, "bytes": [1], "top_logprobs": [{"token": "b", "logprob": -2.0, "bytes": None}]}
CALL = {"index": 0, "id": "call1", "type": "function", "function": {"name": "f", "arguments": "{"}}


def chunk(finish: str | None = None, **said: Any) -> dict[str, Any]:
    choice = {"index": 0, "logprobs": None, **said, "finish_reason": finish, "stop_reason": None}
    return {"id": "c", "created": 1, "model": "m", "choices": [choice], "usage": USED}


CHAT = [
    chunk(delta={"role": "assistant", "content": ""}),
    chunk(delta={"reasoning": "Hm."}),
    chunk(delta={"content": "a"}, logprobs={"content": [SCORE]}),
    chunk(delta={"tool_calls": [CALL]}),
    chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}),
    chunk("stop", delta={}),
    {"choices": [], "usage": {**USED, **DETAILS}},
]
TEXT = [chunk(text="a"), chunk("stop", text="b"), {"choices": [], "usage": {**USED, **DETAILS}}]


def reader(dialect: str, *, stream: bool) -> AnswerReader:
    body = orjson.dumps({"model": "m", "stream": stream, **BODIES[dialect]})
    request = DIALECTS[dialect].parse(body, caps=Caps(), allow_unknown=False)
    counted = request.dialect.counted(request)
    return counted.dialect.reader(admitted(counted), EngineCount())


def lies(value: Any) -> Iterator[Any]:
    """The value with something odd, or nothing, in each of its places."""
    yield from ODD
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, inner in [*parts]:
        for lie in (*lies(inner), GONE):
            told = value.copy()
            if lie is GONE:
                del told[place]
            else:
                told[place] = lie
            yield told


def answer_to(dialect: str, chunks: list[Any], *, stream: bool) -> bytes:
    """All that a client gets, or the end of it."""
    reading, told = reader(dialect, stream=stream), b""
    try:
        for one in (*map(event, chunks), DONE):
            block, failure = reading.events(one)
            told += block
            if failure is not None:
                break
        else:
            told += reading.rest()
    except EngineBroke:
        told += reading.failed(EngineFailed("It broke.", code="engine_failed")) if stream else b"{}"
    return told


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", BODIES)
def test_an_engine_that_lies_is_the_engines_failure(dialect: str, stream: bool) -> None:
    honest = TEXT if dialect == "completions" else CHAT
    for number, true in enumerate(honest):
        for lie in lies(true):
            told = answer_to(dialect, [*honest[:number], lie, *honest[number + 1 :]], stream=stream)
            if stream:
                assert all(line.startswith((b"event: ", b"data: ")) for line in told.splitlines() if line), lie
            elif told:
                orjson.loads(told)
