"""The fidelity tool sees what is different, and explains only what must be."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from loadtest.fidelity.comparison import Result, compare
from loadtest.fidelity.differences import ABSENT, Difference, differences
from loadtest.fidelity.exchanges import Target, events_of
from loadtest.fidelity.folding import Json, fold, fold_chunks
from loadtest.fidelity.rules import explanation
from loadtest.fidelity.shapes import shapes
from loadtest.testing import run_mock_engine

CONTEXT = 1_024
DIALECTS = {
    *("chat", "completions", "responses", "messages", "count_tokens"),
    *("embeddings", "score", "rerank", "tokenize", "detokenize"),
}
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chunk(delta: dict[str, Any], index: int = 0, **fields: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": None, **fields}]}


def test_shapes_are_many_have_names_of_their_own_and_try_every_dialect() -> None:
    every = shapes(CONTEXT)
    assert len({shape.name for shape in every}) == len(every) > 60
    assert {shape.dialect for shape in every} >= DIALECTS


@pytest.mark.parametrize(
    ("engine", "gateway", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": None}, {"a": 1}, [Difference("b", None, ABSENT)]),
        ({}, {"b": None}, [Difference("b", ABSENT, None)]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, [Difference("a[0].b", 1, 2)]),
        ({"a": [1, 2]}, {"a": [1]}, [Difference("a[1]", 2, ABSENT)]),
        ({"a": 1}, {"a": True}, [Difference("a", 1, True)]),
        ({"a": 1}, {"a": 1.0}, [Difference("a", 1, 1.0)]),
        ({"a": {}}, {"a": []}, [Difference("a", {}, [])]),
    ],
)
def test_every_field_is_compared(engine: Any, gateway: Any, found: list[Difference]) -> None:
    assert list(differences(engine, gateway)) == found


@pytest.mark.parametrize(
    ("path", "engine", "gateway"),
    [
        ("answer.id", "chatcmpl-1", "cmpl-2"),
        ("answer.created", 1, ABSENT),
        ("answer.model", "base", ABSENT),
        ("answer.choices[0].message.content", "a", "b"),
        ("answer.choices[0].finish_reason", "stop", "length"),
        ("answer.choices[0].stop_reason", ".", ABSENT),
        ("answer.choices[0].stop_reason", ABSENT, None),
        ("answer.choices[0].message.annotations", None, ABSENT),
        ("answer.choices[0].message.tool_calls[0].function.arguments", "{}", "{ }"),
        ("answer.choices[0].logprobs.content[0].logprob", -1.0, -1.1),
        ("answer.choices[0].logprobs.content[0].token", "a", "b"),
        ("answer.usage.completion_tokens", 3, 4),
        ("answer.usage", {"prompt_tokens": 1}, ABSENT),
        ("answer.usage.prompt_tokens_details.cached_tokens", 32, ABSENT),
        ("answer.error", ABSENT, {"message": "x"}),
        ("answer.error.status", 1, 2),
        ("answer.ends", "[DONE]", None),
        ("status", 200, 400),
        ("type", "text/event-stream", "application/json"),
    ],
)
def test_what_no_rule_explains_is_a_difference(path: str, engine: Any, gateway: Any) -> None:
    assert explanation(Difference(path, engine, gateway), ()) is None


def test_a_stream_is_one_document_however_its_tokens_were_cut_into_events() -> None:
    usage = {**HEAD, "choices": [], "usage": {"completion_tokens": 2}}
    fine: list[Json | str] = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "He"}, logprobs={"content": [1]}),
        chunk({"content": "llo"}, logprobs={"content": [2]}, finish_reason="stop"),
        usage,
        "[DONE]",
    ]
    coarse: list[Json | str] = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hello"}, logprobs={"content": [1, 2]}, finish_reason="stop"),
        usage,
        "[DONE]",
    ]
    assert fold_chunks(fine) == fold_chunks(coarse)
    whole = fold_chunks(fine)
    assert whole["choices"][0]["delta"] == {"role": "assistant", "content": "Hello"}
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert (whole["usage_in"], whole["ends"], whole["changed"], whole["opened"]) == (
        "the last event",
        "[DONE]",
        [],
        {"0": 1},
    )


def test_pieces_of_several_answers_and_calls_come_to_the_one_of_theirs() -> None:
    def call(index: int, **function: str) -> dict[str, Any]:
        return {"tool_calls": [{"index": index, "function": function}]}

    whole = fold_chunks(
        [
            chunk(call(0, name="a", arguments=""), 1),
            chunk({"content": "x"}, 0),
            chunk(call(0, arguments='{"b"'), 1),
            chunk(call(1, name="c", arguments="{}"), 1),
            chunk(call(0, arguments=":1}"), 1),
        ]
    )
    assert [choice["index"] for choice in whole["choices"]] == [0, 1]
    assert [one["function"] for one in whole["choices"][1]["delta"]["tool_calls"]] == [
        {"name": "a", "arguments": '{"b":1}'},
        {"name": "c", "arguments": "{}"},
    ]


def test_a_stream_that_changes_its_name_or_breaks_off_is_another_document() -> None:
    assert fold_chunks([chunk({}), {**chunk({}), "model": "other"}])["changed"] == ["model"]
    assert fold_chunks([chunk({"content": "x"})])["ends"] is None


def test_a_stream_of_responses_is_its_last_response_and_what_its_pieces_come_to() -> None:
    def piece(number: int, text: str) -> Json:
        named = {"type": "response.output_text.delta", "output_index": 0, "delta": text}
        return {**named, "sequence_number": number}

    begun: Json = {"type": "response.created", "sequence_number": 0, "response": {"status": "in_progress"}}
    ended: Json = {"type": "response.completed", "response": {"status": "completed"}}
    fine = fold([begun, piece(1, "He"), piece(2, "llo"), {**ended, "sequence_number": 3}])
    assert fine == fold([begun, piece(1, "Hello"), {**ended, "sequence_number": 2}])
    assert fine == {
        "status": "completed",
        "events": ["response.created", "response.output_text.delta", "response.completed"],
        "said": {"0 response.output_text.delta": "Hello"},
        "numbered": True,
    }
    assert not fold([begun, {**ended, "sequence_number": 2}])["numbered"]


def test_a_stream_of_messages_is_the_message_that_it_makes() -> None:
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    whole = fold(
        [
            {"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 3, "output_tokens": 0}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            *(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": one}}
                for one in "Hi"
            ),
            {"type": "content_block_start", "index": 1, "content_block": use},
            *(
                {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": one}}
                for one in ('{"a"', ":1}")
            ),
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        ]
    )
    assert whole["content"] == [{"type": "text", "text": "Hi"}, {**use, "input": {"a": 1}}]
    assert (whole["stop_reason"], whole["usage"]) == ("tool_use", {"input_tokens": 3, "output_tokens": 2})
    assert whole["events"].count("content_block_delta") == 2


def test_comments_and_names_of_events_are_no_data() -> None:
    text = ': ping\n\nevent: a\ndata: {"b":1}\n\ndata: [DONE]\n\n'
    assert list(events_of(text)) == [{"b": 1}, "[DONE]"]


async def test_an_engine_that_says_something_else_is_told_apart() -> None:
    chosen = [shape for shape in shapes(CONTEXT) if shape.name in ("chat: one question", "completions: a stream")]
    async with run_mock_engine() as one, run_mock_engine(answer_tokens=3) as other:
        same = compare(Target(one.url, "base"), Target(one.url, "base"), chosen)
        different = compare(Target(one.url, "base"), Target(other.url, "base"), chosen)
    assert same == Result(2, [], same.explained)
    assert {difference.path for _, difference in different.unexplained} >= {
        "answer.choices[0].message.content",
        "answer.usage.completion_tokens",
        "answer.choices[0].text",
        "answer.choices[0].finish_reason",
    }


async def test_the_command_prints_every_difference_and_ends_with_its_figures() -> None:
    async with run_mock_engine(max_model_len=64) as one, run_mock_engine(max_model_len=64, answer_tokens=3) as other:
        command = [
            *(sys.executable, "-m", "loadtest.fidelity", "--engine", one.url, "--gateway", other.url),
            *("--model", "base", "--key", "k", "--only", "chat: one question"),
        ]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    *lines, last = done.stdout.splitlines()
    assert done.returncode == 1, done.stderr
    figures = json.loads(last)
    assert figures.keys() == {"shapes", "differences", "explained"}
    assert (figures["shapes"], figures["differences"]) == (1, len(lines))
    assert all(line.startswith("DIFFERS  chat: one question: answer.") for line in lines)
