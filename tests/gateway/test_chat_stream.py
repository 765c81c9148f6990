"""An engine's chat stream, read for dialects that are translated to chats."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from gateway.api.dialects.chat_stream import CallDelta, ChatStream, Delta
from gateway.handoffs import EngineBroke, EngineCount

DONE = b"data: [DONE]\n\n"


def event(document: Any) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


def said(delta: dict[str, Any], tokens: int, **choice: Any) -> bytes:
    usage = {"prompt_tokens": 9, "total_tokens": 9 + tokens, "completion_tokens": tokens}
    return event({"id": "c", "choices": [{"index": 0, "delta": delta, **choice}], "usage": usage})


def test_what_was_said_comes_in_order_with_the_count_so_far() -> None:
    count = EngineCount()
    stream = ChatStream(count)
    call = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "f", "arguments": ""}}
    score = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}
    deltas, failure = stream.deltas(
        b": sign of life\n\n"
        + said({"role": "assistant", "content": ""}, 0)
        + said({"reasoning": "Hm."}, 1)
        + said({"content": "Hi"}, 2, logprobs={"content": [score]})
        + said({"tool_calls": [call]}, 3)
        + said({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}, 4, finish_reason="tool_calls")
    )
    assert failure is None
    assert deltas == [
        Delta("", "", (), (), None, None),
        Delta("", "Hm.", (), (), None, None),
        Delta("Hi", "", (), [score], None, None),
        Delta("", "", (CallDelta(0, "call-1", "f", ""),), (), None, None),
        Delta("", "", (CallDelta(0, None, None, "{}"),), (), "tool_calls", None),
    ]
    assert (count.prompt_tokens, count.completion_tokens, count.source) == (9, 4, "partial")
    assert not stream.complete


TEXT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"acme/triage","choices":[{'
    b'"index":0,"delta":{"content":%b},"logprobs":null,"finish_reason":null,"token_ids":null}],'
    b'"usage":{"prompt_tokens":9,"total_tokens":13,"completion_tokens":4}}\n\n'
)
"""As vLLM writes nearly every event."""


@pytest.mark.parametrize(
    "text",
    ["Hi", "", "grüße 😀", 'a "quoted" \\ line\n', '"},"logprobs":null,"finish_reason":"stop"', "\\", "\x01\u2028"],
)
def test_a_text_is_read_alike_as_engines_write_it_and_as_json_can_be_written_otherwise(text: str) -> None:
    usual = TEXT % orjson.dumps(text)
    other = b"data: " + json.dumps(orjson.loads(usual.removeprefix(b"data: "))).encode() + b"\n\n"
    for event_ in (usual, other):
        count = EngineCount()
        assert ChatStream(count).deltas(event_) == ([Delta(text)], None)
        assert (count.prompt_tokens, count.completion_tokens, count.source) == (9, 4, "partial")


def test_what_only_adds_text_is_not_read_as_json_and_what_stands_between_is() -> None:
    read = []

    class Watched(ChatStream):
        def parsed(self, data: bytes) -> dict[str, Any]:
            read.append(data)
            return super().parsed(data)

    text = TEXT % b'"a"'
    deltas, failure = Watched(EngineCount()).deltas(
        text + text + b": alive\n\n" + text + said({"content": "b"}, 4) + text
    )
    assert ("".join(delta.text for delta in deltas), failure) == ("aaaba", None)
    assert len(read) == 1


@pytest.mark.parametrize("written", [b'"\xff"', b'"\\x"', b'"\x01"', b'"\\ud800"'])
def test_a_text_that_is_no_json_is_the_engines_fault_where_it_is_written_as_ever(written: bytes) -> None:
    with pytest.raises(EngineBroke):
        ChatStream(EngineCount()).deltas(TEXT % written)


def test_the_last_chunk_has_the_final_count_and_says_nothing() -> None:
    count = EngineCount()
    stream = ChatStream(count)
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}}
    stream.deltas(said({"content": "Hi"}, 4, finish_reason="stop"))
    assert stream.deltas(event({"choices": [], "usage": usage}) + DONE) == ([], None)
    assert stream.complete
    assert stream.usage == usage
    assert (count.cached_tokens, count.source) == (5, "engine")


def test_what_comes_before_a_failure_is_read_and_the_failure_is_returned() -> None:
    stream = ChatStream(EngineCount())
    failed = event({"error": {"message": "no"}})
    deltas, failure = stream.deltas(said({"content": "a"}, 1) + failed + said({"content": "b"}, 2))
    assert [delta.text for delta in deltas] == ["a"]
    assert failure == failed.removesuffix(b"\n\n")


@pytest.mark.parametrize(
    "block",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        event({"choices": {}, "usage": 1}),
        event({"choices": [{"index": 0, "delta": None}]}),
        event({"choices": [], "usage": {"prompt_tokens": -1, "completion_tokens": 0}}),
    ],
)
def test_what_cannot_be_understood_is_the_engines_fault(block: bytes) -> None:
    with pytest.raises(EngineBroke):
        ChatStream(EngineCount()).deltas(block)


def test_a_document_says_all_at_once() -> None:
    count = EngineCount()
    stream = ChatStream(count)
    calls = [{"id": f"call-{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in (1, 2)]
    message = {"role": "assistant", "content": "Hi", "reasoning": "Hm.", "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    usage = {"prompt_tokens": 9, "completion_tokens": 4}
    whole = (CallDelta(0, "call-1", "f", "{}"), CallDelta(1, "call-2", "f", "{}"))
    assert stream.whole(orjson.dumps({"choices": [choice], "usage": usage})) == (
        Delta("Hi", "Hm.", whole, (), "tool_calls", None)
    )
    assert stream.complete
    assert (count.prompt_tokens, count.completion_tokens, count.source) == (9, 4, "engine")


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[]",
        b'{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}',
        b'{"choices":[{"index":0,"message":{},"finish_reason":"abort"}],"usage":{"prompt_tokens":1,"completion_tokens":0}}',
    ],
)
def test_a_document_that_is_none_is_the_engines_fault(data: bytes) -> None:
    with pytest.raises(EngineBroke):
        ChatStream(EngineCount()).whole(data)


def test_an_answer_without_an_end_or_of_another_choice_is_the_engines_failure() -> None:
    with pytest.raises(EngineBroke, match="has no end"):
        ChatStream(EngineCount()).deltas(said({"content": "Hi"}, 2) + DONE)
    with pytest.raises(EngineBroke, match="cannot be understood"):
        ChatStream(EngineCount()).deltas(said({"content": "Hi"}, 2) + said({"content": "Ho"}, 3, index=1))
    said_once = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 4}
    for choices in ([], [said_once, said_once], [{**said_once, "finish_reason": None}]):
        with pytest.raises(EngineBroke, match="no end, or several"):
            ChatStream(EngineCount()).whole(orjson.dumps({"choices": choices, "usage": usage}))
