"""Bodies of Anthropic's Messages that must not reach an engine, each with the field that its refusal names."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.api.dialects import DIALECTS
from gateway.errors import BadRequest, Overloaded, QuotaExceeded, RateLimited, Unpriced
from tests.support.messages_parts import CALL, RESULT, TOOL, USER, request, text

DEEP: Any = []
for _ in range(70):
    DEEP = [DEEP]


def user(*content: Any) -> dict[str, Any]:
    return {"messages": [USER, {"role": "user", "content": [*content]}]}


def assistant(*content: Any) -> dict[str, Any]:
    return {"messages": [USER, {"role": "assistant", "content": [*content]}, USER]}


COSTLY = {"type": "string", "pattern": "([a-z]{1,100}x){1,100}"}
IMAGE = {"type": "image", "source": {"type": "url", "url": "http://10.0.0.1/"}}
THINKS = {"type": "enabled", "budget_tokens": 2_000}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ...}, "model"),
        ({"max_tokens": ...}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"messages": ...}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [USER] * 2_049}, "messages"),
        ({"messages": [USER | {"content": [text("")]}]}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [text("a")] * 257}]}, "messages[0].content"),
        ({"messages": [USER | {"name": "Ann"}]}, "messages[0].name"),
        ({"messages": [USER, {"role": "assistant", "contents": "Hi"}]}, "messages[1].contents"),
        (user("Hi"), "messages[1].content[0]"),
        (user({"text": "Hi"}), "messages[1].content[0].type"),
        (user({"type": "text"}), "messages[1].content[0].text"),
        (user(text("Hi", task=1)), "messages[1].content[0].task"),
        (user(text("Hi"), IMAGE), "messages[1].content[1].type"),
        (user({"type": "document", "source": {}}), "messages[1].content[0].type"),
        (user(CALL), "messages[1].content[0].type"),
        (user({"type": "thinking", "thinking": "a"}), "messages[1].content[0].type"),
        (user(RESULT | {"tool_use_id": 1}), "messages[1].content[0].tool_use_id"),
        (user(RESULT | {"content": [IMAGE]}), "messages[1].content[0].content[0].type"),
        (user(RESULT | {"is_error": "yes"}), "messages[1].content[0].is_error"),
        (assistant(RESULT), "messages[1].content[0].type"),
        (assistant({"type": "compaction", "content": "a"}), "messages[1].content[0].type"),
        (assistant(CALL | {"input": "x"}), "messages[1].content[0].input"),
        (assistant(CALL | {"input": {"a": DEEP}}), "messages[1].content[0].input"),
        (assistant(CALL | {"name": ""}), "messages[1].content[0].name"),
        (assistant({"type": "tool_use", "name": "f", "input": {}}), "messages[1].content[0].id"),
        (assistant({"type": "thinking", "thinking": 1}), "messages[1].content[0].thinking"),
        ({"system": 5}, "system"),
        ({"system": ["a"]}, "system[0]"),
        ({"system": [IMAGE]}, "system[0].type"),
        ({"stop_sequences": "a"}, "stop_sequences"),
        ({"stop_sequences": ["a"] * 5}, "stop_sequences"),
        ({"stop_sequences": [""]}, "stop_sequences[0]"),
        ({"temperature": 1.1}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"stream": "yes"}, "stream"),
        ({"tools": [TOOL | {"name": ""}]}, "tools[0].name"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [TOOL | {"parameters": {}}]}, "tools[0].parameters"),
        ({"tools": [TOOL], "tool_choice": "auto"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "required"}}, "tool_choice.type"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [TOOL | {"input_schema": {"properties": {"a": COSTLY}}}], "tool_choice": {"type": "any"}}, "tools"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10}}, "thinking.budget_tokens"),
        ({"thinking": THINKS, "max_tokens": 2_000}, "thinking.budget_tokens"),
        ({"thinking": True}, "thinking"),
        ({"output_config": {"effort": "much"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "json"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema", "schema": COSTLY}}}, "output_config.format.schema"),
        ({"output_format": {"type": "json_schema"}}, "output_format.schema"),
        (
            {
                "output_format": {"type": "json_schema", "schema": {}},
                "output_config": {"format": {"type": "json_schema", "schema": {}}},
            },
            "output_format",
        ),
        ({"metadata": {"user_id": 1}}, "metadata.user_id"),
        ({"metadata": {"order": "1"}}, "metadata.order"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"container": {"id": "c"}}, "container"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"fallbacks": "default"}, "fallbacks"),
        ({"cache_salt": "x"}, "cache_salt"),
        ({"max_token": 5}, "max_token"),
        ({"n": 2}, "n"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_bad_body_is_refused_by_the_name_of_its_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        request(**fields)
    assert refusal.value.param == param
    assert f"'{param}" in refusal.value.message


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(BadRequest) as refusal:
        request(temperature=5, messages=[{"role": "user", "content": [IMAGE, {"type": "text"}]}], top_q=1)
    assert all(f"'{name}" in refusal.value.message for name in ("temperature", "top_q", "messages[0].content[1].text"))


def test_a_message_that_stands_elsewhere_is_told_where() -> None:
    with pytest.raises(BadRequest, match="It stands in messages with the role 'assistant'"):
        request(**user(CALL))
    with pytest.raises(BadRequest, match="Did you mean 'stop_sequences'"):
        request(stop_sequence=["a"])


def test_what_the_engine_refuses_is_named_as_the_client_named_it() -> None:
    dialect = DIALECTS["messages"]
    names = {
        "max_completion_tokens": "max_tokens",
        "stop": "stop_sequences",
        "messages[3].content": "messages",
        "tools[1].function.parameters.a": "tools[1].input_schema.a",
        "tools[1].function.name": "tools[1].name",
        "thinking_token_budget": "thinking.budget_tokens",
        "response_format.json_schema.schema": "output_config.format.schema",
    }
    assert {name: dialect.public_field(name) for name in names} == names


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequest("m", param="max_tokens", code="c"), "invalid_request_error"),
        (RateLimited("m", code="c"), "rate_limit_error"),
        (QuotaExceeded("m", code="c"), "rate_limit_error"),
        (Overloaded("m", code="c"), "overloaded_error"),
        (Unpriced("m", code="c"), "api_error"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_are_anthropics(error: Any, kind: str) -> None:
    error.request_id = "r1"
    said = {"type": kind, "message": "m", "details": {"error_code": "c", "param": error.param}}
    for name in ("messages", "count_tokens"):
        assert orjson.loads(DIALECTS[name].error_body(error)) == {"type": "error", "error": said, "request_id": "r1"}
        told = DIALECTS[name].error_event(error)
        assert told == b"event: error\ndata: " + DIALECTS[name].error_body(error) + b"\n\n"
