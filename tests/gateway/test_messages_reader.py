"""What an engine says, as Anthropic's own client reads it: the same message from a stream and from a document."""

from __future__ import annotations

from typing import Any

import httpx2
import orjson
import pytest
from anthropic import Anthropic

from gateway.errors import EngineFailed
from gateway.handoffs import EngineBroke
from tests.support.admitted import PUBLIC
from tests.support.messages_parts import BEGIN, END, TOOL, called, reader, said

ENDED: dict[str, Any] = {"finish_reason": "stop"}


def streamed(*chunks: bytes) -> list[bytes]:
    """What the client gets, by chunk, and at last the rest."""
    made, _ = reader(stream=True)
    told = [made.events(chunk)[0] for chunk in chunks]
    assert made.complete
    return [*told, made.rest()]


def read(events: bytes) -> dict[str, Any]:
    """The message that Anthropic's client makes of events."""
    head = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=head, content=events))
    with (
        Anthropic(api_key="k", http_client=httpx2.Client(transport=transport)) as client,
        client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]) as stream,
    ):
        message = stream.get_final_message().to_dict(mode="json")
    assert message.pop("stop_details") is None
    return message


def document(*chunks: bytes) -> dict[str, Any]:
    """The same answer in one piece."""
    made, count = reader()
    assert [made.events(chunk) for chunk in chunks] == [(b"", None)] * len(chunks)
    answer: dict[str, Any] = orjson.loads(made.rest())
    assert (count.prompt_tokens, count.cached_tokens, count.completion_tokens, count.source) == (9, 4, 5, "engine")
    return answer


THOUGHT = {"type": "thinking", "thinking": "Hm, so.", "signature": "r1"}
F_CALL = {"type": "tool_use", "id": "call-0", "name": "f", "input": {"a": 1}}
CALLED = [said(called(0, "", "f")), said(called(0, '{"a"')), said(called(0, ":1}"))]


@pytest.mark.parametrize(
    ("chunks", "content", "stopped"),
    [
        ([said({"content": "Hel"}), said({"content": "lo"}, **ENDED)], [{"type": "text", "text": "Hello"}], "end_turn"),
        ([said({"content": "a"}, finish_reason="length")], [{"type": "text", "text": "a"}], "max_tokens"),
        ([said({"content": ""}, **ENDED)], [{"type": "text", "text": ""}], "end_turn"),
        ([said({}, finish_reason="content_filter")], [{"type": "text", "text": ""}], "refusal"),
        (
            [said({"reasoning": "Hm, "}), said({"reasoning_content": "so."}), said({"content": "Yes."}, **ENDED)],
            [THOUGHT, {"type": "text", "text": "Yes."}],
            "end_turn",
        ),
        ([said({"reasoning": "Hm, so."}, finish_reason="length")], [THOUGHT], "max_tokens"),
        (
            [said({"content": "Let me see."}), *CALLED, said({}, finish_reason="tool_calls")],
            [{"type": "text", "text": "Let me see."}, F_CALL],
            "tool_use",
        ),
        ([*CALLED, said({}, **ENDED)], [F_CALL], "tool_use"),
        (
            [*CALLED, said(called(1, "", "g")), said({}, finish_reason="tool_calls")],
            [F_CALL, {"type": "tool_use", "id": "call-1", "name": "g", "input": {}}],
            "tool_use",
        ),
        (
            [*CALLED[:2], said({"content": " Done"}), CALLED[2], said({"content": "."}), said({}, **ENDED)],
            [F_CALL, {"type": "text", "text": " Done."}],
            "tool_use",
        ),
        ([*CALLED, said({"content": "\n"}), said({}, finish_reason="tool_calls")], [F_CALL], "tool_use"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_document_is_what_the_client_makes_of_the_stream(
    chunks: list[bytes], content: list[Any], stopped: str
) -> None:
    message = document(BEGIN, *chunks, END)
    assert message == {
        "id": "msg_r1",
        "type": "message",
        "role": "assistant",
        "model": PUBLIC,
        "content": content,
        "stop_reason": stopped,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 5,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 4,
            "output_tokens": 5,
        },
    }
    for chunk in ([BEGIN, *chunks, END], [b"".join([BEGIN, *chunks, END])]):
        assert read(b"".join(streamed(*chunk))) == message


def test_a_stop_sequence_is_named_and_a_call_that_it_cut_is_none() -> None:
    stopped: dict[str, Any] = {"finish_reason": "stop", "stop_reason": "END"}
    message = document(BEGIN, said({"content": "a"}, **stopped), END)
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")
    message = document(BEGIN, *CALLED[:2], said({}, **stopped), END)
    assert (message["stop_reason"], message["content"]) == ("stop_sequence", [F_CALL | {"input": {}}])
    message = document(BEGIN, *CALLED, said({}, **stopped), END)
    assert (message["stop_reason"], message["stop_sequence"]) == ("tool_use", None)
    assert (
        document(BEGIN, said({"content": "a"}, finish_reason="stop", stop_reason=2), END)["stop_reason"] == "end_turn"
    )


def test_every_event_goes_out_when_it_is_said_and_the_last_ones_when_all_is_known() -> None:
    told = streamed(BEGIN, said({"content": "a"}), said({"content": "b"}, 2, **ENDED), END)
    names = [[line for line in one.decode().splitlines() if line.startswith("event: ")] for one in told]
    assert names == [
        ["event: message_start"],
        ["event: content_block_start", "event: content_block_delta"],
        ["event: content_block_delta"],
        [],
        ["event: content_block_stop", "event: message_delta", "event: message_stop"],
    ]
    started = orjson.loads(told[0].splitlines()[1].removeprefix(b"data: "))["message"]
    assert started["usage"]["input_tokens"] == 9
    assert (started["content"], started["stop_reason"]) == ([], None)


@pytest.mark.parametrize(
    "chunks",
    [
        [said(called(0, "{}"))],
        [said(called(0, "{}", "f")), said(called(1, "{}"))],
        [said(called(1, "{}", "f")), said(called(0, "{}", "g"))],
        [said(called(0, "{", "f")), said({"reasoning": "Hm."}), said(called(0, "}"))],
        [b"data: {\n\n"],
    ],
    ids=["no name", "no name of the second", "out of order", "thoughts within a call", "no JSON"],
)
def test_what_makes_no_sense_is_the_engines_fault(chunks: list[bytes]) -> None:
    made, _ = reader(stream=True, tools=[TOOL])
    with pytest.raises(EngineBroke):
        made.events(b"".join(chunks))


def test_a_stream_that_fails_ends_with_anthropics_error() -> None:
    made, count = reader(stream=True)
    told, failure = made.events(BEGIN + said({"content": "a"}) + b'data: {"error":{"message":"no"}}\n\n')
    assert b"content_block_delta" in told
    assert failure == b'data: {"error":{"message":"no"}}'
    assert (count.completion_tokens, count.source) == (1, "partial")
    ended = made.failed(EngineFailed("The engine failed.", code="engine_error"))
    assert ended.startswith(b"event: error\ndata: ")
    assert orjson.loads(ended.partition(b"data: ")[2])["error"]["type"] == "api_error"
    assert b"message_stop" not in ended
