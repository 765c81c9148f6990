"""Bodies of responses, and the chats that engines get for them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.api.dialects import DIALECTS
from gateway.api.dialects.responses.kept import response_of
from gateway.api.fields.caps import Caps
from gateway.api.fields.table import RESERVED, UNSUPPORTED
from gateway.errors import BadRequest
from gateway.handoffs import InferenceRequest

RESPONSES, CHAT = DIALECTS["responses"], DIALECTS["chat"]
USER = {"role": "user", "content": "Hi"}
CALL = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Rome"}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
CHATS_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
CHATS_WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}


def asked(*, allow_unknown: bool = False, **fields: Any) -> InferenceRequest:
    body = {"model": "m", "input": "Hi", "store": False, **fields}
    return RESPONSES.parse(orjson.dumps(body), caps=Caps(), allow_unknown=allow_unknown)


def messages(*items: Any, **fields: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = asked(input=list(items), **fields).body["messages"]
    return found


def answered(*content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content, **more}


def output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def refusal_of(**fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        asked(**fields)
    assert caught.value.param is not None
    assert f"'{caught.value.param}'" in caught.value.message or caught.value.param.startswith("tool_choice")
    return caught.value


def test_a_text_is_a_message_of_the_user_behind_the_instructions() -> None:
    assert asked().body["messages"] == [USER]
    assert asked(instructions="Be kind.").body["messages"] == [{"role": "system", "content": "Be kind."}, USER]
    assert asked(instructions="").body["messages"] == [USER]


def test_an_engine_is_asked_for_a_stream_for_who_reads_one_and_for_who_pays() -> None:
    whole, stream = asked(), asked(stream=True, stream_options={"include_obfuscation": False})
    paid = whole.dialect.counted(whole)
    assert (whole.stream, whole.assembled, "stream" in whole.body) == (False, False, False)
    assert (paid.stream, paid.assembled, paid.body["stream"]) == (False, True, True)
    assert (stream.stream, stream.assembled, stream.body["stream"]) == (True, False, True)
    assert paid.body["stream_interval"] > 1
    assert "stream_interval" not in stream.body
    assert not paid.body.keys() - paid.dialect.engine_fields


def test_an_answer_with_tools_is_asked_for_as_the_client_gets_it() -> None:
    whole = asked(tools=[WEATHER])
    assert whole.dialect.counted(whole) is whole


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([{"role": "developer", "content": "a"}], [{"role": "developer", "content": "a"}]),
        (
            [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}, "b"]}],
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
        ),
        ([USER, answered(output_text("a"))], [USER, {"role": "assistant", "content": "a"}]),
        (
            [USER, answered(output_text("a"), {"type": "refusal", "refusal": "no"})],
            [
                USER,
                {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}]},
            ],
        ),
        ([USER, answered(), USER], [USER, {"role": "assistant", "content": ""}, USER]),
        (
            [USER, CALL, {**CALL, "call_id": "c2"}, RESULT],
            [
                USER,
                {"role": "assistant", "tool_calls": [CHATS_CALL, {**CHATS_CALL, "id": "c2"}]},
                {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
            ],
        ),
        (
            [THOUGHT, answered(output_text("I look.")), CALL],
            [{"role": "assistant", "reasoning": "Hm.", "content": "I look.", "tool_calls": [CHATS_CALL]}],
        ),
        ([THOUGHT, USER], [{"role": "assistant", "reasoning": "Hm.", "content": ""}, USER]),
        (
            [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "So."}], "encrypted_content": "x"}],
            [{"role": "assistant", "reasoning": "So.", "content": ""}],
        ),
        ([USER, {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}], [USER]),
        ([USER, {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}}], [USER]),
        ([answered(output_text("a")), answered(output_text("b"))], [
            {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}
        ]),
        (
            [CALL, {**RESULT, "output": [{"type": "input_text", "text": "sunny"}]}],
            [
                {"role": "assistant", "tool_calls": [CHATS_CALL]},
                {"role": "tool", "content": [{"type": "text", "text": "sunny"}], "tool_call_id": "c1"},
            ],
        ),
    ],
)  # fmt: skip
def test_items_are_messages(items: list[Any], expected: list[Any]) -> None:
    assert messages(*items) == expected


def test_what_an_answer_had_besides_is_dropped() -> None:
    said = answered(output_text("a"), phase="final_answer", provider_metadata={"x": 1})
    call = {**CALL, "id": "fc_1", "status": "completed", "namespace": "n", "caller": {"type": "direct"}}
    assert messages(USER, said, call, RESULT | {"id": "o"}) == [
        USER,
        {"role": "assistant", "content": "a", "tool_calls": [CHATS_CALL]},
        {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
    ]


def test_a_last_message_that_its_model_did_not_end_goes_on() -> None:
    request = asked(input=[USER, answered(output_text("I was"), status="incomplete")])
    assert request.body["continue_final_message"] is True
    assert request.body["add_generation_prompt"] is False
    assert "continue_final_message" not in asked(input=[answered(output_text("a"), status="incomplete"), USER]).body


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_output_tokens": 5}, {"max_completion_tokens": 5}),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "a", "strict": True, "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "strict": True, "schema": {"type": "object"}},
                }
            },
        ),
        ({"tools": [WEATHER]}, {"tools": [CHATS_WEATHER]}),
        ({"tools": []}, {}),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "weather"}},
            {"tools": [CHATS_WEATHER], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        ),
        (
            {
                "tools": [WEATHER, {**WEATHER, "name": "time"}],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "weather"}],
                },
            },
            {"tools": [CHATS_WEATHER], "tool_choice": "required"},
        ),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True, "top_logprobs": 0}),
        (
            {"include": ["message.output_text.logprobs"], "top_logprobs": 3},
            {"logprobs": True, "top_logprobs": 3},
        ),
        ({"top_logprobs": 3, "include": ["reasoning.encrypted_content"]}, {}),
        ({"truncation": "auto"}, {"truncate_prompt_tokens": -1}),
        ({"truncation": "disabled"}, {}),
        ({"temperature": 0.5, "seed": 3, "top_k": 4}, {"temperature": 0.5, "seed": 3, "top_k": 4}),
        ({"max_tool_calls": 3, "service_tier": "flex", "user": "u", "prompt_cache_key": "k", "verbosity": "low"}, {}),
    ],
)
def test_fields_are_those_of_a_chat(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    plain = asked().body
    assert asked(**fields).body == {**plain, **expected}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": ["Hi"]}, "input[0]"),
        ({"input": [{"type": "item_reference", "id": ""}]}, "input[0].id"),
        ({"input": [{"type": "computer_call"}]}, "input[0].type"),
        ({"input": [{"type": "custom_tool_call", "call_id": "c", "name": "n", "input": ""}]}, "input[0].type"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role"),
        ({"input": [USER, {"role": "user"}]}, "input[1].content"),
        ({"input": [{"role": "user", "content": []}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": "a", "contentt": "b"}]}, "input[0].contentt"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://10.0.0.1/"}]}]},
            "input[0].content[0].type",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "a", "image_url": "x"}]}]},
            "input[0].content[0].image_url",
        ),
        ({"input": [{"role": "user", "content": [{"type": "refusal", "refusal": "a"}]}]}, "input[0].content[0].type"),
        ({"input": [{**CALL, "call_id": None}]}, "input[0].call_id"),
        ({"input": [{**CALL, "arguments": {}}]}, "input[0].arguments"),
        ({"input": [{**CALL, "arguments": "[" * 99}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"input": [{**RESULT, "output": [{"type": "input_file"}]}]}, "input[0].output[0].type"),
        ({"input": [{**USER, "status": "odd"}]}, "input[0].status"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"min_tokens": 4, "max_output_tokens": 3}, "min_tokens"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"text": {"form": 1}}, "text.form"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "custom", "name": "n"}]}, "tools[0].type"),
        ({"tools": [CHATS_WEATHER]}, "tools[0].function"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{**WEATHER, "parameters": 3}]}, "tools[0].parameters"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "time"}}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        (
            {
                "tools": [WEATHER],
                "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "x"}]},
            },
            "tool_choice.tools[0].name",
        ),
        ({"include": ["everything"]}, "include[0]"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"truncation": "some"}, "truncation"),
        ({"conversation": "conv_1", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": 3}}, "conversation.id"),
        ({"background": True}, "background"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options"),
        ({"structured_outputs": {"regex": "a"}, "text": {"format": {"type": "json_object"}}}, "structured_outputs"),
        ({"nothing": 1}, "nothing"),
    ],
)
def test_a_refusal_names_the_clients_own_field(fields: dict[str, Any], param: str) -> None:
    assert refusal_of(**fields).param == param


@pytest.mark.parametrize("name", sorted(RESPONSES.refused))
def test_what_cannot_be_done_is_refused_with_a_remedy(name: str) -> None:
    error = refusal_of(**{name: {"a": 1}})
    assert (error.param, error.code) == (name, "unsupported_parameter")
    assert RESPONSES.refused[name] in error.message


def test_no_field_of_a_chat_reaches_an_engine_unchecked_even_where_unknown_fields_pass() -> None:
    tabled = {*RESPONSES.known(), *RESPONSES.refused, *RESERVED, *UNSUPPORTED}
    assert not CHAT.forwarded.keys() - tabled
    assert asked(allow_unknown=True, novelty=[1]).body["novelty"] == [1]
    for name in ("messages", "n", "cache_salt", "echo"):
        with pytest.raises(BadRequest):
            asked(allow_unknown=True, **{name: [1]})


def test_tools_that_must_be_called_count_by_what_their_grammar_costs() -> None:
    dear = {"type": "object", "properties": {f"p{n}": {"type": "string", "maxLength": 128 + n} for n in range(100)}}
    tools = [{**WEATHER, "parameters": dear}]
    assert asked(tools=tools).body["tools"]
    assert refusal_of(tools=tools, tool_choice="required").param == "tools"


def test_what_an_engine_says_of_the_chat_is_told_of_the_response() -> None:
    assert RESPONSES.public_field("messages[0].content") == "input"
    assert RESPONSES.public_field("max_completion_tokens") == "max_output_tokens"
    assert RESPONSES.public_field("response_format.json_schema.schema.a") == "text.format.schema.a"
    assert RESPONSES.public_field("tools[2].function.parameters.type") == "tools[2].parameters.type"
    assert RESPONSES.public_field("temperature") == "temperature"


def test_a_response_is_kept_unless_it_is_not_to_be() -> None:
    assert asked().keeping is None
    keeping = asked(store=None, input=[USER, CALL], instructions="Be kind.").keeping
    assert keeping is not None
    assert (keeping.store, keeping.previous_id, keeping.instructions) == (True, None, "Be kind.")
    first, second = RESPONSES.kept(keeping.items, "0" * 32)
    assert first["content"] == [{"type": "input_text", "text": "Hi"}]
    assert (first["id"], second["id"]) == (f"msg_{'0' * 32}i0", f"fc_{'0' * 32}i1")
    assert response_of(first["id"]) == f"resp_{'0' * 32}"
    going_on = asked(previous_response_id="resp_1").keeping
    assert going_on is not None
    assert (going_on.store, going_on.previous_id) == (False, "resp_1")


@pytest.mark.parametrize("named", ["conv_1", {"id": "conv_1"}])
def test_a_conversation_is_named_by_its_id_alone_or_in_an_object(named: Any) -> None:
    request = asked(conversation=named)
    assert request.keeping is not None
    assert (request.keeping.conversation_id, request.conversation_id) == ("conv_1", "conv_1")
    assert b'"conversation":{"id":"conv_1"}' in request.echo
    assert asked(conversation=named, metadata={"conversation_id": "ours"}).conversation_id == "ours"


def test_a_kept_item_may_stand_in_the_input_by_its_id() -> None:
    output, other = f"msg_{'a' * 32}00", "msg_of_another_vendor"
    request = asked(input=[{"id": output}, {"type": "item_reference", "id": other}, USER])
    assert request.keeping is not None
    assert request.keeping.referred == {output: f"resp_{'a' * 32}", other: ""}
    assert not request.keeping.store
    assert request.body["messages"] == [USER]


def test_a_turn_goes_on_behind_earlier_ones_under_its_own_instructions() -> None:
    request = asked(input=[RESULT], instructions="Now.", previous_response_id="resp_1", tools=[WEATHER])
    going_on = RESPONSES.continued(request, [{**USER, "type": "message"}, {**CALL, "id": "fc_1"}])
    assert going_on.body["messages"] == [
        {"role": "system", "content": "Now."},
        USER,
        {"role": "assistant", "tool_calls": [CHATS_CALL]},
        {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
    ]
    assert going_on.body["tools"] == [CHATS_WEATHER]
