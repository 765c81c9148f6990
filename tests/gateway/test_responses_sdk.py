"""OpenAI's Responses with the official client, unmodified, against the gateway."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import Response, ResponseStreamEvent

from tests.support.stack import Stack

VERSION = "acme/triage@1.0"
ASKED = "My parcel is late."


def create(client: OpenAI) -> Response:
    return client.responses.create(model="acme/triage", input=ASKED, max_output_tokens=5, store=False)


def test_a_response_names_the_version_that_gave_it_and_what_it_used(client: OpenAI) -> None:
    answer = create(client)
    assert (answer.object, answer.model, answer.error) == ("response", VERSION, None)
    assert answer.id.startswith("resp_")
    assert len(answer.output_text.split()) == 5
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.usage is not None
    assert answer.usage.output_tokens == 5
    assert answer.usage.total_tokens == answer.usage.input_tokens + 5
    assert answer.max_output_tokens == 5


def test_a_response_is_what_a_chat_says_at_the_same_cost(client: OpenAI) -> None:
    answer = create(client)
    chat = client.chat.completions.create(
        model="acme/triage", messages=[{"role": "user", "content": ASKED}], max_tokens=5
    )
    assert chat.usage is not None
    assert answer.usage is not None
    assert answer.output_text == chat.choices[0].message.content
    assert answer.usage.input_tokens == chat.usage.prompt_tokens


def test_the_ledger_has_what_a_response_says_that_it_used(client: OpenAI, stack: Stack) -> None:
    answer = create(client)
    (row,) = stack.house.usage_of(answer.id.removeprefix("resp_"))
    assert answer.usage is not None
    assert (row["endpoint"], row["outcome"], row["usage_source"]) == ("responses", "ok", "engine")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (answer.usage.input_tokens, answer.usage.output_tokens)


def test_a_stream_tells_of_the_response_in_openais_order(client: OpenAI) -> None:
    events: list[ResponseStreamEvent] = []
    with client.responses.create(model="triage", input=ASKED, max_output_tokens=3, store=False, stream=True) as stream:
        events += stream
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 3,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    first, last = events[0], events[-1]
    assert first.type == "response.created"
    assert last.type == "response.incomplete"
    assert (first.response.status, first.response.output, first.response.usage) == ("in_progress", [], None)
    assert first.response.id == last.response.id
    assert last.response.output_text == "".join(
        event.delta for event in events if event.type == "response.output_text.delta"
    )


def test_the_helper_for_streams_ends_with_the_whole_response(client: OpenAI) -> None:
    with client.responses.stream(model="triage", input=ASKED, store=False) as stream:
        events = list(stream)
        whole = stream.get_final_response()
    assert events[-1].type == "response.completed"
    assert whole.status == "completed"
    assert whole.output_text == client.responses.create(model="triage", input=ASKED, store=False).output_text


async def test_the_async_client_reads_the_same(stack: Stack) -> None:
    async with AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=stack.house.keys["acme"], max_retries=0) as client:
        whole = await client.responses.create(model="triage", input=ASKED, store=False)
        async with client.responses.stream(model="triage", input=ASKED, store=False) as stream:
            assert (await stream.get_final_response()).output_text == whole.output_text


def test_errors_are_the_clients_own(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.responses.create(model="other/thing", input=ASKED)
    with pytest.raises(openai.BadRequestError, match="max_output_tokens") as refused:
        client.responses.create(model="triage", input=ASKED, max_output_tokens=0)
    assert refused.value.param == "max_output_tokens"
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="none").responses.create(model="triage", input=ASKED)


def test_the_count_of_a_prompt_is_what_its_response_is_charged_with_all_that_it_goes_on_from(
    client: OpenAI, stack: Stack
) -> None:
    tool: Any = {"type": "function", "name": "find", "parameters": {"type": "object"}, "strict": False}
    first = client.responses.create(model="acme/triage", input=ASKED, instructions="Be kind.", max_output_tokens=5)
    conversation = client.conversations.create(items=[{"role": "user", "content": "Hi"}])
    item = client.responses.input_items.list(first.id).data[0]
    assert item.id is not None
    bodies: list[dict[str, Any]] = [
        {"input": ASKED},
        {"input": ASKED, "instructions": "Be kind.", "reasoning": {"effort": "low"}, "truncation": "disabled"},
        {"input": "Where is it?", "tools": [tool], "tool_choice": "none"},
        {"input": "Where is it?", "previous_response_id": first.id},
        {"input": "Where is it?", "conversation": conversation.id},
        {"input": "Where is it?", "conversation": {"id": conversation.id}},
        {"input": [{"type": "item_reference", "id": item.id}, {"role": "user", "content": "Well?"}]},
    ]
    for body in bodies:
        counted = client.responses.input_tokens.count(model="acme/triage", **body)
        served = client.responses.create(model="acme/triage", max_output_tokens=1, store=False, **body)
        assert served.usage is not None
        assert (counted.object, counted.input_tokens) == ("response.input_tokens", served.usage.input_tokens), body
    raw = client.responses.input_tokens.with_raw_response.count(model="acme/triage", input=ASKED)
    (row,) = stack.house.usage_of(raw.headers["x-request-id"])
    assert (row["endpoint"], row["prompt_tokens"], row["cost_nano"]) == ("input_tokens", 0, 0)


def test_a_count_of_what_is_not_there_is_refused_as_the_response_would_be(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.input_tokens.count(model="acme/triage", input=ASKED, previous_response_id="resp_none")
    assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")
    with pytest.raises(openai.BadRequestError, match="max_output_tokens"):
        client.responses.input_tokens.count(model="acme/triage", input=ASKED, extra_body={"max_output_tokens": 3})
