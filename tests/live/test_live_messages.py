"""Anthropic's Messages on the real engine, with the official client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic

from tests.live.installation import Live

USER: Any = {"role": "user", "content": "My parcel is late."}
TOOL: Any = {"name": "find", "description": "Finds it.", "input_schema": {"type": "object", "properties": {}}}
CALL: Any = {"type": "tool_use", "id": "t", "name": "find", "input": {"number": 17}}
RESULT: Any = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "In Oslo."}]}


@pytest.fixture
def claude(live: Live) -> Iterator[Anthropic]:
    with Anthropic(base_url=live.url, api_key=live.keys["acme"], max_retries=0, timeout=120) as client:
        yield client


def test_a_stream_ends_with_the_message_that_an_answer_in_one_piece_is(claude: Anthropic) -> None:
    asked: Any = {"model": "acme/triage@1.0", "messages": [USER], "max_tokens": 20, "extra_body": {"temperature": 0}}
    whole = claude.messages.create(**asked)
    with claude.messages.stream(**asked) as stream:
        message = stream.get_final_message()
    assert [block.to_dict()["text"] for block in message.content] == [
        block.to_dict()["text"] for block in whole.content
    ]
    assert (message.model, message.stop_reason) == (whole.model, whole.stop_reason)
    assert message.usage.output_tokens == whole.usage.output_tokens > 0


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [USER], "system": [{"type": "text", "text": "Be kind."}, {"type": "text", "text": " Be brief."}]},
        {"messages": [USER, {"role": "assistant", "content": []}, {"role": "system", "content": "Now."}, USER]},
        {"messages": [USER, {"role": "assistant", "content": [CALL]}, {"role": "user", "content": [RESULT]}]},
        {"messages": [USER], "thinking": {"type": "disabled"}},
        {"messages": [USER], "tools": [TOOL], "tool_choice": {"type": "none"}},
    ],
    ids=["system", "turns", "tools", "no thoughts", "tools that are not called"],
)
def test_the_engine_is_asked_what_it_would_make_of_the_message_itself(
    live: Live, claude: Anthropic, fields: dict[str, Any]
) -> None:
    with httpx.Client(base_url=live.engine_url, timeout=60) as engine:
        own = engine.post("/v1/messages/count_tokens", json={"model": "base", **fields}).json()["input_tokens"]
    assert claude.messages.count_tokens(model="triage", **fields).input_tokens == own
    usage = claude.messages.create(model="triage", max_tokens=1, **fields).usage
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == own


def test_what_the_engine_cannot_do_is_said_in_anthropics_terms(claude: Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="cannot be used with") as refused:
        claude.messages.create(model="triage", messages=[USER], max_tokens=5, tools=[TOOL])
    assert refused.value.error_code == "unsupported_by_engine"


def test_a_stop_sequence_ends_the_message_and_is_named(claude: Anthropic) -> None:
    asked: Any = {"model": "triage", "messages": [USER], "max_tokens": 12, "extra_body": {"temperature": 0}}
    said = claude.messages.create(**asked).content[0].to_dict()["text"]
    assert isinstance(said, str)
    mark = said[len(said) // 2 :][:3]
    message = claude.messages.create(**asked, stop_sequences=[mark])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", mark)
    assert message.content[0].to_dict()["text"] == said.partition(mark)[0]
