"""Anthropic's official client against the gateway: what works as it does at Anthropic."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import pytest
from anthropic import Anthropic
from anthropic.types import TextBlock

from tests.support.stack import MESSAGES, Stack

VERSION = "acme/triage@1.0"


@pytest.fixture
def claude(stack: Stack) -> Iterator[Anthropic]:
    """acme's client, which retries nothing."""
    with Anthropic(base_url=stack.url, api_key=stack.house.keys["acme"], max_retries=0) as client:
        yield client


def test_a_message_names_the_version_that_gave_it_and_what_it_used(stack: Stack, claude: Anthropic) -> None:
    message = claude.messages.create(model="acme/triage", messages=MESSAGES, max_tokens=5)
    (block,) = message.content
    assert isinstance(block, TextBlock)
    assert len(block.text.split()) == 5
    assert (message.type, message.role, message.model) == ("message", "assistant", VERSION)
    assert (message.stop_reason, message.stop_sequence) == ("max_tokens", None)
    assert message._request_id is not None
    assert message.id == f"msg_{message._request_id}"
    (row,) = stack.house.usage_of(message._request_id)
    usage = message.usage
    assert row["endpoint"] == "messages"
    assert row["usage_source"] == "engine"
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == row["prompt_tokens"]
    assert (usage.cache_read_input_tokens, usage.output_tokens) == (row["cached_tokens"], row["completion_tokens"])


def test_a_stream_of_events_makes_the_same_message(stack: Stack, claude: Anthropic) -> None:
    whole = claude.messages.create(model="acme/triage", messages=MESSAGES, max_tokens=5)
    with claude.messages.stream(model="acme/triage", messages=MESSAGES, max_tokens=5) as stream:
        texts = list(stream.text_stream)
        message = stream.get_final_message()
    assert [block.to_dict() for block in whole.content] == [{"type": "text", "text": "".join(texts)}]
    assert message.content[0].to_dict()["text"] == "".join(texts)
    assert len(texts) == 5
    assert message.stop_reason == "max_tokens"
    kinds = [
        event.type
        for event in claude.messages.create(model="acme/triage", messages=MESSAGES, max_tokens=2, stream=True)
    ]
    assert kinds == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip


def test_the_count_of_a_prompt_is_what_its_message_is_charged(claude: Anthropic) -> None:
    count = claude.messages.count_tokens(model="acme/triage", messages=MESSAGES, system="Be kind.")
    message = claude.messages.create(model="acme/triage", messages=MESSAGES, system="Be kind.", max_tokens=1)
    assert count.input_tokens == message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)


def test_errors_raise_the_clients_own_exceptions(claude: Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        claude.messages.create(model="acme/nothing", messages=MESSAGES, max_tokens=5)
    assert missing.value.type == "not_found_error"
    assert missing.value.error_code == "model_not_found"
    assert missing.value.request_id is not None
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        claude.messages.create(model="acme/triage", messages=MESSAGES, max_tokens=5, extra_body={"temperature": 2})
    with pytest.raises(anthropic.AuthenticationError):
        claude.with_options(api_key="sk-wrong").messages.create(model="acme/triage", messages=MESSAGES, max_tokens=5)
