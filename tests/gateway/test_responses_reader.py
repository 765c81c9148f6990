"""An engine's chat stream as events of a response, held against the types of the official client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.errors import EngineFailed
from gateway.handoffs import AnswerReader, EngineBroke, EngineCount
from tests.support.admitted import PUBLIC, admitted
from tests.support.forward_parts import DONE, event

EVENT: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
OURS = {"store"}
"""What OpenAI's documents have and its client's types lack."""
SCORES = [
    {
        "token": "Hi",
        "logprob": -0.5,
        "bytes": [72, 105],
        "top_logprobs": [{"token": "Yo", "logprob": -1.0, "bytes": [89, 111]}],
    }
]


def said(tokens: int, finish: str | None = None, logprobs: Any = None, **delta: Any) -> bytes:
    usage = {"prompt_tokens": 9, "total_tokens": 9 + tokens, "completion_tokens": tokens}
    scores = None if logprobs is None else {"content": logprobs}
    choice = {"index": 0, "delta": delta, "logprobs": scores, "finish_reason": finish}
    return event({"id": "c", "choices": [choice], "usage": usage})


def called(tokens: int, number: int, arguments: str, finish: str | None = None, **named: Any) -> bytes:
    name = named.pop("name", None)
    function = {"arguments": arguments, **({} if name is None else {"name": name})}
    return said(tokens, finish, tool_calls=[{"index": number, "function": function, **named}])


def used(written: int, **more: Any) -> bytes:
    return event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": written, **more}})


EVERYTHING = [
    said(0, role="assistant", content=""),
    said(1, reasoning="Hm, "),
    said(2, reasoning="well."),
    said(3, logprobs=SCORES, content="Hi"),
    said(4, content=" there"),
    called(5, 0, "", id="call-1", name="weather"),
    called(6, 0, '{"city":'),
    called(7, 0, '"Rome"}'),
    called(8, 1, "{}", "tool_calls", id="call-2", name="time"),
    used(8, prompt_tokens_details={"cached_tokens": 5}, completion_tokens_details={"reasoning_tokens": 2}),
    DONE,
]


def reader(*, stream: bool = True, assembled: bool = False, **fields: Any) -> AnswerReader:
    body = orjson.dumps({"model": "m", "input": "Hi", "stream": stream, **fields})
    request = DIALECTS["responses"].parse(body, caps=Caps(), allow_unknown=False)._replace(assembled=assembled)
    return request.dialect.reader(admitted(request), EngineCount())


def events_in(data: bytes) -> list[dict[str, Any]]:
    """Events as dictionaries; each is what the official client knows under its name, with no field besides."""
    found = []
    for one in data.decode().split("\n\n")[:-1]:
        name, _, line = one.partition("\n")
        found.append(orjson.loads(line.removeprefix("data: ")))
        known = EVENT.validate_python(found[-1])
        assert name == f"event: {known.type}"
        if known.type != "error":
            assert not extras_of(known) - OURS
    return found


def extras_of(value: Any) -> set[str]:
    """Names of fields at any depth that its types do not know."""
    found = set(value.model_extra or {})
    for item in value.__dict__.values():
        for inner in item if isinstance(item, list) else [item]:
            if hasattr(inner, "model_extra"):
                found |= extras_of(inner)
    return found


def streamed(chunks: Sequence[bytes], **fields: Any) -> list[dict[str, Any]]:
    reading, data = reader(**fields), b""
    for chunk in chunks:
        told, failure = reading.events(chunk)
        assert failure is None
        data += told
    return events_in(data + reading.rest())


def whole(chunks: Sequence[bytes], **fields: Any) -> dict[str, Any]:
    reading = reader(stream=False, assembled=True, **fields)
    assert reading.events(b"".join(chunks)) == (b"", None)
    document: dict[str, Any] = orjson.loads(reading.rest())
    Response.model_validate(document)
    return document


def test_thoughts_text_and_calls_are_items_in_the_order_in_which_they_came() -> None:
    events = streamed(EVERYTHING)
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    told = [(one["type"].removeprefix("response."), one.get("output_index")) for one in events]
    assert told == [
        ("created", None),
        ("in_progress", None),
        ("output_item.added", 0),
        ("content_part.added", 0),
        ("reasoning_text.delta", 0),
        ("reasoning_text.delta", 0),
        ("reasoning_text.done", 0),
        ("content_part.done", 0),
        ("output_item.done", 0),
        ("output_item.added", 1),
        ("content_part.added", 1),
        ("output_text.delta", 1),
        ("output_text.delta", 1),
        ("output_text.done", 1),
        ("content_part.done", 1),
        ("output_item.done", 1),
        ("output_item.added", 2),
        ("function_call_arguments.delta", 2),
        ("function_call_arguments.delta", 2),
        ("function_call_arguments.done", 2),
        ("output_item.done", 2),
        ("output_item.added", 3),
        ("function_call_arguments.delta", 3),
        ("function_call_arguments.done", 3),
        ("output_item.done", 3),
        ("completed", None),
    ]


def test_the_events_of_an_item_have_its_id_and_its_last_one_is_what_the_response_has() -> None:
    events = streamed(EVERYTHING)
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "function_call"]
    assert [one["item"] for one in events if one["type"] == "response.output_item.done"] == output
    assert len({item["id"] for item in output}) == 4
    for one in events:
        if "output_index" in one:
            assert one.get("item_id", one.get("item", {}).get("id")) == output[one["output_index"]]["id"]
    assert output[0]["content"] == [{"type": "reasoning_text", "text": "Hm, well."}]
    assert output[1]["content"][0]["text"] == "Hi there"
    calls = [(item["call_id"], item["name"], item["arguments"]) for item in output[2:]]
    assert calls == [("call-1", "weather", '{"city":"Rome"}'), ("call-2", "time", "{}")]


def test_a_document_says_what_the_stream_of_the_same_answer_says_at_its_end() -> None:
    fields = {"instructions": "Be kind.", "tools": [{"type": "function", "name": "time"}], "metadata": {"a": "b"}}
    document, last = whole(EVERYTHING, **fields), streamed(EVERYTHING, **fields)[-1]["response"]
    for moving in ("created_at", "completed_at"):
        assert isinstance(document.pop(moving), int)
        assert isinstance(last.pop(moving), int)
    assert document == last
    assert (document["model"], document["status"], document["instructions"]) == (PUBLIC, "completed", "Be kind.")
    assert document["usage"] == {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 0},
        "output_tokens": 8,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 17,
    }


def test_log_probabilities_stand_with_the_text_that_they_are_of() -> None:
    events = streamed(EVERYTHING, include=["message.output_text.logprobs"], top_logprobs=1)
    deltas = [one["logprobs"] for one in events if one["type"] == "response.output_text.delta"]
    without_bytes = [{"token": "Hi", "logprob": -0.5, "top_logprobs": [{"token": "Yo", "logprob": -1.0}]}]
    assert deltas == [without_bytes, []]
    assert next(one for one in events if one["type"] == "response.output_text.done")["logprobs"] == without_bytes
    assert events[-1]["response"]["output"][1]["content"][0]["logprobs"] == SCORES


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_is_cut_is_incomplete_and_says_why(finish: str, reason: str) -> None:
    chunks = [said(1, reasoning="Hm."), said(2, content="Hi"), said(3, finish, content=" th"), used(3), DONE]
    last = streamed(chunks)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": reason}
    assert [item["status"] for item in last["response"]["output"]] == ["completed", "incomplete"]
    assert whole(chunks)["status"] == "incomplete"


def test_an_answer_without_a_word_is_a_response_without_items() -> None:
    chunks = [said(0, content=""), said(1, "stop"), used(1), DONE]
    assert [one["type"] for one in streamed(chunks)] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]
    assert whole(chunks)["output"] == []


def test_a_stream_that_fails_ends_with_what_was_made_and_with_an_error() -> None:
    reading = reader()
    told, _ = reading.events(said(1, content="Hi"))
    events = events_in(told + reading.failed(EngineFailed("It broke.", code="engine_broke")))
    failed, error = events[-2:]
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"] == {"code": "server_error", "message": "It broke."}
    (item,) = failed["response"]["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "Hi")
    assert (error["type"], error["code"], error["error"]["message"]) == ("error", "engine_broke", "It broke.")
    assert [one["sequence_number"] for one in events] == list(range(len(events)))


def test_a_stream_that_fails_before_a_word_begins_all_the_same() -> None:
    kinds = [one["type"] for one in events_in(reader().failed(EngineFailed("No.", code="engine_broke")))]
    assert kinds == ["response.created", "response.in_progress", "response.failed", "error"]


@pytest.mark.parametrize(
    "chunk",
    [
        called(1, 0, "{}"),
        called(1, 0, "{}", name=""),
        called(1, 0, "{}", id="c", name="f") + called(2, 1, "", id="d", name="g") + called(3, 0, "{}"),
    ],
)
def test_more_of_a_call_that_is_not_under_way_is_the_engines_fault(chunk: bytes) -> None:
    with pytest.raises(EngineBroke):
        reader().events(chunk)


def in_one_piece(finish: str, calls: Sequence[tuple[str, str, str]] = (), **message: Any) -> bytes:
    """An engine's document of the answer that `EVERYTHING` says, or of others."""
    made = [{"id": id_, "function": {"name": name, "arguments": arguments}} for id_, name, arguments in calls]
    scores = message.pop("logprobs", None)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": None, **message, **({"tool_calls": made} if made else {})},
        "logprobs": None if scores is None else {"content": scores},
        "finish_reason": finish,
    }
    usage = {"prompt_tokens": 9, "completion_tokens": 8}
    usage["prompt_tokens_details"] = {"cached_tokens": 5}  # type: ignore[assignment]
    usage["completion_tokens_details"] = {"reasoning_tokens": 2}  # type: ignore[assignment]
    return orjson.dumps({"id": "c", "choices": [choice], "usage": usage})


@pytest.mark.parametrize(
    ("document", "chunks"),
    [
        (
            in_one_piece(
                "tool_calls",
                [("call-1", "weather", '{"city":"Rome"}'), ("call-2", "time", "{}")],
                reasoning="Hm, well.",
                content="Hi there",
                logprobs=SCORES,
            ),
            EVERYTHING,
        ),
        (in_one_piece("length", content="Hi there"), [said(1, content="Hi"), said(8, "length", content=" there")]),
        (in_one_piece("length", reasoning="Hm"), [said(8, "length", reasoning="Hm")]),
        (in_one_piece("stop"), [said(8, "stop", content="")]),
    ],
)
def test_an_engines_document_says_what_its_stream_does(document: bytes, chunks: list[bytes]) -> None:
    reading = reader(stream=False)
    assert reading.document(document) == b""
    assert reading.complete
    found = orjson.loads(reading.rest())
    Response.model_validate(found)
    end = [used(8, prompt_tokens_details={"cached_tokens": 5}, completion_tokens_details={"reasoning_tokens": 2}), DONE]
    expected = whole(chunks if chunks[-1] == DONE else [*chunks, *end])
    times = dict.fromkeys(("created_at", "completed_at"))
    assert {**found, **times} == {**expected, **times}


def test_a_stream_for_a_document_and_a_document_for_a_stream_are_the_engines_fault() -> None:
    for fault in (reader().document, reader(stream=False, assembled=True).document, reader(stream=False).events):
        with pytest.raises(EngineBroke):
            fault(b"{}")
    nameless = in_one_piece("tool_calls", [("call-1", "", "{}")])
    with pytest.raises(EngineBroke, match="calls of tools"):
        reader(stream=False).document(nameless)


def test_a_call_that_the_engine_gave_no_id_has_one() -> None:
    (item,) = whole([called(1, 0, "{}", "tool_calls", name="f"), used(1), DONE])["output"]
    assert item["call_id"].startswith("call_")


@pytest.mark.parametrize(("within", "items"), [("\n", 1), ("Let me see.", 2)])
def test_what_is_said_within_a_call_stands_behind_it(within: str, items: int) -> None:
    chunks = [
        called(1, 0, "", id="call-1", name="weather"),
        called(2, 0, '{"city":'),
        said(3, content=within),
        called(4, 0, '"Rome"}', "tool_calls"),
        used(4),
        DONE,
    ]
    told = streamed(chunks)[-1]["response"]["output"]
    assert [one["type"] for one in told] == ["function_call", "message"][:items]
    assert told[0]["arguments"] == '{"city":"Rome"}'
    assert items == 1 or told[1]["content"][0]["text"] == within
    made = [one | {"id": ""} for one in whole(chunks)["output"]]
    assert made == [one | {"id": ""} for one in told]
