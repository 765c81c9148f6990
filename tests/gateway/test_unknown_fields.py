"""Fields that the gateway does not know: whose pass, whose are dropped, and whose are refused."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import BadRequest
from tests.support.request_parts import CALL, HOSTILE, TOOL, USER, chat, said


def test_a_tenants_unknown_fields_pass_at_every_depth() -> None:
    new = {"new": {"a": [1]}}
    call = CALL | new | {"function": CALL["function"] | new}
    messages = [
        USER | {"task": "x"},
        {"role": "user", "content": [{"type": "text", "text": "Hi", **new}]},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "1", **new},
        {"role": "critic", "content": "Hm", **new},
    ]
    tools = [TOOL | new | {"function": TOOL["function"] | new}]
    body = chat(allow_unknown=True, messages=messages, tools=tools, newer=None, newest=1).body
    assert body == {"messages": messages, "tools": tools, "newest": 1}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [USER | {"a": 1}]}, "messages[0].a"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "a": 1}]}]},
            "messages[0].content[0].a",
        ),
        ({"messages": [{"role": "assistant", "tool_cals": [CALL]}]}, "messages[0].tool_cals"),
        ({"messages": [{"role": "assistant", "content": None, "toolCalls": [CALL]}]}, "messages[0].toolCalls"),
        ({"messages": [{"role": "assistant", "content": "", "contents": "x"}]}, "messages[0].contents"),
        ({"messages": [{"role": "assistant", "text": "Hello"}]}, "messages[0].text"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [CALL | {"function": {"name": "f", "args": {"a": 1}}}]}]},
            "messages[0].tool_calls[0].function.args",
        ),
        ({"messages": [{"role": "critic", "content": "Hm"}]}, "messages[0].role"),
        ({"tools": [TOOL | {"a": 1}]}, "tools[0].a"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_unknown_fields_of_everybody_else_do_not(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        chat(**fields)
    assert refusal.value.param == param


@pytest.mark.parametrize(
    "key", ["image_url", "input_image", "audio_url", "video_url", "image_embeds", "prompt_embeds", "file", "uuid"]
)
def test_media_in_a_text_part_never_pass(key: str) -> None:
    part = {"type": "text", "text": "Hi", key: HOSTILE}
    with pytest.raises(BadRequest) as refusal:
        chat(allow_unknown=True, messages=[{"role": "critic", "content": [part]}])
    assert refusal.value.param == f"messages[0].content[0].{key}"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "x", "tool_calls": [{"function": 3}]},
        {"role": "critic", "content": "x", "tool_calls": "none"},
        {"role": "cri\ntic", "content": "x"},
        {"role": "", "content": "x"},
        {"role": "critic"},
        {"role": "user", "content": "x", "name": 7},
    ],
    ids=str,
)
def test_what_the_gateway_reads_is_checked_for_everybody(message: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        chat(allow_unknown=True, messages=[message])


@pytest.mark.parametrize(
    "extra",
    [
        {"tool_plan": "First."}, {"safety_ratings": []}, {"vertex_ai": {"a": 1}}, {"vertex_ai_safety_results": []},
        {"toolInvocations": [{"state": "result"}]}, {"parts": [{"type": "text", "text": "Hello"}]},
        {"experimental_attachments": []}, {"partial": False}, {"prefix": False}, {"x_new_vendor": [{"a": [1]}]},
        {"reasoningContent": "hm", "modelVersion": "9"},
    ],
    ids=str,
)  # fmt: skip
def test_what_nobody_knows_is_dropped_from_what_an_assistant_said(extra: dict[str, Any]) -> None:
    message = {"role": "assistant", "content": "Hello"}
    assert said(message | extra) == message
    function = CALL["function"] | extra
    calls = [CALL | extra | {"function": function}]
    assert said({"role": "assistant", "content": None, "tool_calls": calls} | extra)["tool_calls"] == [CALL]
    part = {"type": "text", "text": "Hello"}
    assert said({"role": "assistant", "content": [part | extra]})["content"] == [part]


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"response_format": {"type": "text"}}, {"response_format": {"type": "text"}}),
        ({"structured_outputs": {"regex": "a"}}, {"structured_outputs": {"regex": "a"}}),
        ({"stream_options": {"include_usage": False}}, {}),
        ({"usage": {"include": False}}, {}),
        (
            {"repetition_detection": {"max_pattern_size": 2, "min_count": 3}},
            {"repetition_detection": {"max_pattern_size": 2, "min_count": 3}},
        ),
    ],
    ids=str,
)
def test_a_tenants_unknown_options_pass_and_the_engine_does_not_get_them(
    fields: dict[str, Any], kept: dict[str, Any]
) -> None:
    ((name, value),) = fields.items()
    assert chat(allow_unknown=True, **{name: value | {"x": [{"a": 1}]}}).body == {"messages": [USER], **kept}
    with pytest.raises(BadRequest) as refusal:
        chat(**{name: value | {"x": 1}})
    assert refusal.value.param == f"{name}.x"


def test_a_tenants_unknown_options_pass_at_every_depth() -> None:
    output = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    sent = {**output, "x": 1, "json_schema": {**output["json_schema"], "x": 1}}  # type: ignore[dict-item]
    assert chat(allow_unknown=True, response_format=sent).body["response_format"] == output
    choice = {"type": "function", "function": {"name": "f"}}
    sent_choice = {"type": "function", "x": 1, "function": {"name": "f", "x": 1}}
    assert chat(allow_unknown=True, tools=[TOOL], tool_choice=sent_choice).body["tool_choice"] == choice


@pytest.mark.parametrize("key", ["structural_tag", "_backend"])
def test_constraints_that_nobody_counts_never_pass(key: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        chat(allow_unknown=True, structured_outputs={"regex": "a", key: "x"})
    assert refusal.value.param == f"structured_outputs.{key}"


@pytest.mark.parametrize(
    "field",
    [{"use_beam_search": False}, {"length_penalty": 1.0}, {"length_penalty": 1}, {"early_stopping": False},
     {"priority": 0}, {"logits_processors": []}, {"functions": []},
     {"function_call": "none"}, {"return_token_offsets": False}],
    ids=str,
)  # fmt: skip
def test_a_refused_field_that_asks_for_nothing_is_absent(field: dict[str, Any]) -> None:
    assert chat(**field).body == {"messages": [USER]}


@pytest.mark.parametrize(
    "field",
    [{"use_beam_search": True}, {"length_penalty": True}, {"length_penalty": 0.5}, {"data_parallel_rank": 0},
     {"priority": False}, {"guided_json": {}}, {"kv_transfer_params": {}}, {"web_search_options": {}},
     {"function_call": "f"}],
    ids=str,
)  # fmt: skip
def test_a_refused_field_that_asks_for_something_is_refused_and_says_on_which_engines(field: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="on engines of any kind"):
        chat(**field)
