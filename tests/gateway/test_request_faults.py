"""A refusal names all that is wrong with a body, up to a few places."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.api.fields.faults import MOST_NAMED
from gateway.errors import BadRequest
from gateway.handoffs import Endpoint

USER: dict[str, Any] = {"role": "user", "content": "Hi"}
CALL: dict[str, Any] = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def refusal_of(endpoint: Endpoint = "chat", **fields: Any) -> BadRequest:
    body = {"model": "m", **({"messages": [USER]} if endpoint == "chat" else {"prompt": "Hi"}), **fields}
    with pytest.raises(BadRequest) as refusal:
        DIALECTS[endpoint].parse(orjson.dumps(body), caps=Caps(), allow_unknown=False)
    return refusal.value


def tool(name: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"messages": [USER | {"a": 1}, USER, USER | {"b": 1}]}, ["messages[0].a", "messages[2].b"]),
        (
            {"messages": [{"role": "x", "content": "a"}, {"role": "y", "content": "a"}]},
            ["messages[0].role", "messages[1].role"],
        ),
        (
            {"messages": [{"role": "user", "content": 1}, {"role": "user", "content": True}]},
            ["messages[0].content", "messages[1].content"],
        ),
        ({"messages": [{"role": "user"}, USER, {"role": "system"}]}, ["messages[0].content", "messages[2].content"]),
        ({"messages": [3, USER, "x"]}, ["messages[0]", "messages[2]"]),
        (
            {
                "messages": [
                    {"role": "user", "content": "a", "name": ""},
                    {"role": "tool", "content": 3, "tool_call_id": 4},
                ]
            },
            ["messages[0].name", "messages[1].content", "messages[1].tool_call_id"],
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": 3}, {"type": "file"}]}
                ]
            },
            ["messages[0].content[0].type", "messages[0].content[1].text", "messages[0].content[2].type"],
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": "a", "b": 1}, {"type": "text", "text": "a", "c": 1}],
                    }
                ]
            },
            ["messages[0].content[0].b", "messages[0].content[1].c"],
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [CALL | {"id": 3}, CALL | {"type": "x"}]}]},
            ["messages[0].tool_calls[0].id", "messages[0].tool_calls[1].type"],
        ),
        ({"tools": [tool("a\nb"), tool("ok"), tool("")]}, ["tools[0].function.name", "tools[2].function.name"]),
        ({"priority": 3, "cache_salt": "a"}, ["priority", "cache_salt"]),
        ({"functions": [3], "audio": {"voice": "x"}}, ["functions", "audio"]),
        ({"temperature": 9, "top_p": "x", "frobnicate": 1}, ["temperature", "top_p", "frobnicate"]),
        ({"logit_bias": {"x": 1, "2": "a", "3": 101}}, ["'x'", "'a'", "101"]),
        ({"documents": [{"a": 1}, {"b": [2]}]}, ["documents[0].a", "documents[1].b"]),
    ],
    ids=lambda value: str(value)[:70],
)
def test_every_place_that_is_wrong_is_named(fields: dict[str, Any], places: list[str]) -> None:
    error = refusal_of(**fields)
    assert [place for place in places if place not in error.message] == []
    assert error.param is not None


@pytest.mark.parametrize(
    ("prompt", "places"),
    [
        (["a", 1, "b", 2], ["prompt[1]", "prompt[3]"]),
        (["", "a", ""], ["prompt[0]", "prompt[2]"]),
        ([[1, -1], [2], ["x"]], ["prompt[0][1]", "prompt[2][0]"]),
    ],
    ids=str,
)
def test_every_bad_prompt_is_named(prompt: Any, places: list[str]) -> None:
    message = refusal_of("completions", prompt=prompt).message
    assert [place for place in places if place not in message] == []


def test_the_first_fault_is_the_field_and_the_code() -> None:
    error = refusal_of(messages=[{"role": "x", "content": "a"}, USER | {"a": 1}], temperature=9)
    assert (error.param, error.code) == ("messages[0].role", "invalid_value")


def test_no_more_are_looked_for_than_are_named() -> None:
    bad = {"role": "user", "content": [{"type": "image_url"}] * 5}
    message = refusal_of(messages=[bad] * 100, temperature=9).message
    assert message.count("must be") == MOST_NAMED
    assert message.endswith("There are more.")
    assert "temperature" not in message


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_token", "max_tokens"), ("temprature", "temperature"), ("max_new_tokens", "max_tokens"),
        ("top_a", None), ("max_input_tokens", None), ("num_beams", None), ("typical_p", None),
    ],
)  # fmt: skip
def test_a_hint_is_given_only_when_it_is_near(name: str, hint: str | None) -> None:
    remedy = "Remove it." if hint is None else f"Did you mean '{hint}'?"
    fields: dict[str, Any] = {name: 1}
    assert refusal_of(**fields).message == f"'{name}' is not a known field. {remedy}"
    assert "min_tokens" not in refusal_of("completions", max_generation_tokens=3).message


@pytest.mark.parametrize("model", ["acme/triage", "x" * 300, 3, None])
def test_the_refusal_of_a_body_knows_which_model_it_named(model: Any) -> None:
    assert refusal_of(model=model, temperature="hot").model == (model[:256] if isinstance(model, str) else None)
