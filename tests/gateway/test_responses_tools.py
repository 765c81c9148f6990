"""Functions, formats and failures of responses, with the official client unmodified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import FunctionToolParam, Response, ResponseFunctionToolCall, ResponseStreamEvent
from openai.types.responses.response_input_param import ResponseInputParam
from pydantic import BaseModel

from tests.support.stack import Stack, open_house, run_stack
from tests.support.waiting import wait_until

WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
TIME: FunctionToolParam = {"type": "function", "name": "get_time", "parameters": {"type": "object"}, "strict": False}
ASKED = "Ask get_weather about Oslo."
ASKED_BOTH = "Ask get_weather and get_time about Oslo."


class Order(BaseModel):
    """What a customer says of an order."""

    number: int
    late: bool


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One engine that calls tools."""
    with open_house(tmp_path_factory.mktemp("tools")) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house, engines=[{"tool_call_parser": "hermes"}]) as stack:
            yield stack
            stack.heal()


def calls_of(output: list[Any]) -> list[ResponseFunctionToolCall]:
    return [item for item in output if item.type == "function_call"]


def test_a_function_is_called_and_its_result_is_answered(client: OpenAI) -> None:
    history: ResponseInputParam = [{"role": "user", "content": ASKED}]
    asked = client.responses.create(model="triage", input=history, tools=[WEATHER], store=False)
    (call,) = calls_of(asked.output)
    assert (call.name, call.arguments, call.status) == ("get_weather", '{"city": "text"}', "completed")
    assert asked.status == "completed"
    history += [item.model_dump(exclude_none=True) for item in asked.output]  # type: ignore[misc]
    history.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
    answered = client.responses.create(model="triage", input=history, tools=[WEATHER], store=False)
    assert answered.output_text
    assert not calls_of(answered.output)


def test_calls_of_several_functions_are_streamed_one_after_the_other(client: OpenAI) -> None:
    tools = [WEATHER, TIME]
    with client.responses.stream(model="triage", input=ASKED_BOTH, tools=tools, store=False) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [call.name for call in final.output if call.type == "function_call"] == ["get_weather", "get_time"]
    assert next(call.parsed_arguments for call in final.output if call.type == "function_call") == {"city": "text"}
    pieces = [event for event in events if event.type == "response.function_call_arguments.delta"]
    assert {piece.output_index for piece in pieces} == {0, 1}
    assert events[-1].type == "response.completed"
    whole = client.responses.create(model="triage", input=ASKED_BOTH, tools=tools, store=False)
    assert [(call.name, call.arguments) for call in calls_of(whole.output)] == [
        (call.name, call.arguments) for call in calls_of(list(final.output))
    ]


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "name": "get_time"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_time"}]},
    ],
)
def test_a_function_that_must_be_called_is(client: OpenAI, choice: Any) -> None:
    answer = client.responses.create(model="triage", input="Hi", tools=[TIME, WEATHER], tool_choice=choice, store=False)
    assert "get_time" in [call.name for call in calls_of(answer.output)]
    assert answer.tools[0].type == "function"
    if isinstance(choice, dict):
        assert [call.name for call in calls_of(answer.output)] == ["get_time"]


def test_a_function_that_may_not_be_called_is_not(client: OpenAI) -> None:
    answer = client.responses.create(model="triage", input=ASKED, tools=[WEATHER], tool_choice="none", store=False)
    assert not calls_of(answer.output)


def test_an_answer_is_parsed_into_the_class_that_was_asked_for(client: OpenAI) -> None:
    answer = client.responses.parse(model="triage", input="Hi", text_format=Order, store=False)
    assert answer.output_parsed == Order(number=7, late=True)
    assert answer.text is not None
    assert answer.text.format is not None
    assert answer.text.format.type == "json_schema"


async def test_the_async_client_streams_a_parsed_answer(stack: Stack) -> None:
    async with (
        AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=stack.house.keys["acme"], max_retries=0) as client,
        client.responses.stream(model="triage", input="Hi", text_format=Order, store=False) as stream,
    ):
        assert (await stream.get_final_response()).output_parsed == Order(number=7, late=True)


def broken_off(client: OpenAI, stack: Stack, **fields: bool) -> list[ResponseStreamEvent]:
    """What a client sees of a stream whose engine fails after three chunks."""
    seen: list[ResponseStreamEvent] = []
    stack.faults(error_after_chunks=3)
    try:
        stream: Any = client.responses.create(model="triage", input="Hi", stream=True, **fields)  # type: ignore[call-overload]
        with stream, pytest.raises(openai.APIError, match="failed while it answered"):
            seen.extend(iter(stream))
    finally:
        stack.heal()
    return seen


def test_a_stream_that_breaks_off_says_that_it_failed_and_raises_the_clients_error(
    client: OpenAI, stack: Stack
) -> None:
    seen = broken_off(client, stack, store=False)
    failed = seen[-1]
    assert failed.type == "response.failed"
    assert failed.response.status == "failed"
    assert failed.response.error is not None
    assert failed.response.error.code == "server_error"
    assert failed.response.output_text == "".join(one.delta for one in seen if one.type == "response.output_text.delta")


@pytest.mark.parametrize("background", [False, True])
def test_what_was_made_of_a_stream_that_breaks_off_is_kept(client: OpenAI, stack: Stack, background: bool) -> None:
    seen = broken_off(client, stack, background=background)
    failed = seen[-1]
    assert failed.type == "response.failed"

    def kept() -> Response | None:
        try:
            found = client.responses.retrieve(failed.response.id)
        except openai.NotFoundError:
            return None
        return found if found.status == "failed" else None

    stored = wait_until("it to be stored", kept)
    assert stored == failed.response
    assert stored.output_text
    (said,) = stored.output
    assert said.type == "message"
    assert said.status == "incomplete"
    going_on = client.responses.create(
        model="triage", input="Go on", max_output_tokens=3, previous_response_id=stored.id
    )
    assert going_on.output_text


def test_a_whole_answer_that_breaks_off_is_an_error_of_the_client(client: OpenAI, stack: Stack) -> None:
    stack.faults(error_after_chunks=3)
    try:
        with pytest.raises(openai.APIStatusError) as caught:
            client.responses.create(model="triage", input="Hi", store=False)
    finally:
        stack.heal()
    assert caught.value.status_code >= 500


def test_an_engines_refusal_is_told_in_the_fields_of_responses(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="triage", input="word " * 5_000, store=False)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="triage", input="Hi", max_output_tokens=100_000, store=False)
    assert caught.value.param == "max_output_tokens"


def test_log_probabilities_come_when_they_are_included(client: OpenAI) -> None:
    answer = client.responses.create(
        model="triage",
        input="Hi",
        max_output_tokens=3,
        include=["message.output_text.logprobs"],
        top_logprobs=2,
        store=False,
    )
    (item,) = answer.output
    assert item.type == "message"
    (part,) = item.content
    assert part.type == "output_text"
    assert part.logprobs is not None
    assert [len(one.top_logprobs) for one in part.logprobs] == [2, 2, 2]
    assert "".join(one.token for one in part.logprobs) == part.text
