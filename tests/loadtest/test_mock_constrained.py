"""The mock says what fits where a form is asked for, and calls tools as vLLM with a parser does."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from loadtest.fidelity.exchanges import events_of
from loadtest.fidelity.folding import fold_chunks
from loadtest.testing import run_mock_engine

CHAT = "/v1/chat/completions"


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": [*properties]}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


WEATHER = tool("get_weather", city={"type": "string"}, days={"type": "integer", "minimum": 2})
TIME = tool("get_time", zone={"enum": ["CET", "UTC"]})
NAMED = {"type": "function", "function": {"name": "get_time"}}


async def ask(**body: Any) -> dict[str, Any]:
    """The first choice, of a stream in one piece."""
    whole = {"model": "base", "messages": [{"role": "user", "content": "Hello"}], **body}
    async with run_mock_engine(tool_call_parser="hermes") as engine, httpx.AsyncClient(base_url=engine.url) as http:
        reply = (await http.post(CHAT, json=whole)).raise_for_status()
    if not body.get("stream"):
        choice: dict[str, Any] = reply.json()["choices"][0]
        return choice
    (choice,) = fold_chunks([*events_of(reply.text)])["choices"]
    return {**choice, "message": choice["delta"]}


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ({"response_format": {"type": "json_object"}}, {"answer": "yes"}),
        ({"structured_outputs": {"json": '{"type": "array", "items": {"type": "boolean"}}'}}, [True]),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {
                        "name": "x",
                        "schema": {
                            "$defs": {"Kind": {"enum": ["a", "b"]}},
                            "type": "object",
                            "properties": {
                                "kind": {"$ref": "#/$defs/Kind"},
                                "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                                "size": {"type": ["number", "null"]},
                                "left_out": {"type": "string"},
                            },
                            "required": ["kind", "note", "size"],
                        },
                    },
                }
            },
            {"kind": "a", "note": "text", "size": 0.5},
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_json_fits_its_schema(fields: dict[str, Any], fits: Any, stream: bool) -> None:
    choice = await ask(**fields, stream=stream)
    assert json.loads(choice["message"]["content"]) == fits
    assert choice["finish_reason"] == "stop"


async def test_one_of_a_few_words_is_the_first() -> None:
    assert (await ask(structured_outputs={"choice": ["yes", "no"]}))["message"]["content"] == "yes"


@pytest.mark.parametrize(
    ("choice", "called", "ends"),
    [
        ("required", [("get_weather", {"city": "text", "days": 2})], "tool_calls"),
        (NAMED, [("get_time", {"zone": "CET"})], "stop"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_that_must_be_called_is_called(choice: Any, called: Any, ends: str, stream: bool) -> None:
    answer = await ask(tools=[WEATHER, TIME], tool_choice=choice, stream=stream)
    calls = [
        (one["function"]["name"], json.loads(one["function"]["arguments"])) for one in answer["message"]["tool_calls"]
    ]
    assert calls == called
    assert answer["finish_reason"] == ends
    assert len({one["id"] for one in answer["message"]["tool_calls"]}) == len(called)


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_that_a_user_names_are_called_at_once(stream: bool) -> None:
    asked = [{"role": "user", "content": [{"type": "text", "text": "Ask get_time and get_weather."}]}]
    answer = await ask(tools=[WEATHER, TIME], messages=asked, stream=stream)
    assert [one["function"]["name"] for one in answer["message"]["tool_calls"]] == ["get_weather", "get_time"]
    alone = await ask(tools=[WEATHER, TIME], messages=asked, stream=stream, parallel_tool_calls=False)
    assert len(alone["message"]["tool_calls"]) == 1


@pytest.mark.parametrize("choice", ["auto", "none"])
async def test_tools_that_nobody_names_are_not_called(choice: str) -> None:
    answer = await ask(tools=[WEATHER], tool_choice=choice)
    assert "tool_calls" not in answer["message"]
    assert answer["message"]["content"]


async def test_the_result_of_a_call_is_answered_by_text() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Ask get_time."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "12:00"},
    ]
    answer = await ask(tools=[TIME], messages=messages)
    assert answer["finish_reason"] == "stop"
    assert "tool_calls" not in answer["message"]


async def test_what_must_be_said_is_cut_where_the_bound_is() -> None:
    answer = await ask(response_format={"type": "json_object"}, max_tokens=1)
    assert answer["message"]["content"] == '{"answer":'
    assert answer["finish_reason"] == "length"
