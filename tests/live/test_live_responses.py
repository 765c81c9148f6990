"""OpenAI's Responses on the real engine, with the official client: as the engine's own endpoint has them."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from gateway.samples import samples
from tests.live.installation import ROOT, Live

TICKET = next(iter(samples(ROOT / "examples"))).request["messages"]
CALL = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Rome"}'}
SHAPES: dict[str, dict[str, Any]] = {
    "a text behind instructions": {"input": "Say hello.", "instructions": "Be short."},
    "a conversation": {
        "input": [
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "Hi"}, {"type": "input_text", "text": "there"}],
            },
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]},
            {"type": "reasoning", "id": "rs", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
            {"type": "message", "role": "user", "content": "And now?"},
        ],
    },
    "the result of a call": {
        "input": [
            {"role": "user", "content": "Weather?"},
            CALL,
            {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        ],
    },
    "an answer that goes on": {
        "input": [
            {"role": "user", "content": "Count to five."},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "incomplete",
                "content": [{"type": "output_text", "text": "One, two,", "annotations": []}],
            },
        ]
    },
}


class Late(BaseModel):
    """Whether it is."""

    late: bool


@pytest.mark.parametrize("shape", SHAPES)
async def test_the_model_is_asked_what_the_engines_own_endpoint_asks_and_says_the_same(live: Live, shape: str) -> None:
    asked = {"model": live.base_name, "max_output_tokens": 3, "temperature": 0, "store": False, **SHAPES[shape]}
    async with httpx.AsyncClient(timeout=60) as http:
        theirs = (await http.post(f"{live.engine_url}/v1/responses", json={**asked, "model": "base"})).json()
    async with live.client("acme") as client:
        ours = await client.responses.create(**asked)
    assert ours.usage is not None
    assert (ours.usage.input_tokens, ours.usage.output_tokens) == (
        theirs["usage"]["input_tokens"],
        theirs["usage"]["output_tokens"],
    )
    assert ours.output_text == theirs["output"][0]["content"][0]["text"]
    assert ours.status == theirs["status"]


async def test_an_adapter_answers_and_its_stream_ends_with_the_whole_response(live: Live) -> None:
    ticket: Any = [{"role": message["role"], "content": message["content"]} for message in TICKET]
    async with (
        live.client("acme") as client,
        client.responses.stream(
            model="acme/triage", input=ticket, temperature=0, max_output_tokens=40, store=False
        ) as stream,
    ):
        text = "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])
        response = await stream.get_final_response()
    assert response.output_text == text
    assert response.model.startswith("acme/triage@1."), "another test may have promoted a newer one"
    assert response.status == "completed"


async def test_an_answer_is_parsed_into_the_class_that_was_asked_for(live: Live) -> None:
    async with live.client("acme") as client:
        response = await client.responses.parse(
            model=live.base_name, input="My parcel is late.", text_format=Late, temperature=0, store=False
        )
    assert isinstance(response.output_parsed, Late)


async def test_log_probabilities_are_those_of_the_text(live: Live) -> None:
    async with live.client("acme") as client:
        response = await client.responses.create(
            model=live.base_name,
            input="Say hello.",
            max_output_tokens=3,
            include=["message.output_text.logprobs"],
            top_logprobs=2,
            store=False,
        )
    (item,) = response.output
    assert item.type == "message"
    (part,) = item.content
    assert part.type == "output_text"
    assert [len(one.top_logprobs) for one in part.logprobs or ()] == [2, 2, 2]
    assert "".join(one.token for one in part.logprobs or ()) == part.text


async def test_what_does_not_fit_is_refused_in_the_clients_terms(live: Live) -> None:
    async with live.client("acme") as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.create(model=live.base_name, input="word " * 2_000, store=False)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")
