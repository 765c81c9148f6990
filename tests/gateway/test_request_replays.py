"""Bodies as other vendors' libraries write them: null is absent, what they replay is dropped, what is new may pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.api.dialects import DIALECTS
from gateway.api.fields import replayed
from gateway.api.fields.caps import Caps
from gateway.errors import BadRequest
from tests.support.request_parts import CALL, TOOL, USER, chat, said
from tests.support.stack import CHAT, Stack, open_house, run_stack


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"frobnicate": None, "temperature": None, "priority": None, "functions": None, "audio": None}, {}),
        ({"logit_bias": {"1": None, "2": 3}}, {"logit_bias": {"2": 3}}),
        ({"metadata": {"team": None, "conversation_id": None}}, {}),
        ({"documents": [{"title": None, "text": "x"}]}, {"documents": [{"text": "x"}]}),
        ({"response_format": {"type": "text", "json_schema": None, "x": None}}, {"response_format": {"type": "text"}}),
        (
            {"structured_outputs": {"regex": "a", "json": None, "_backend": None}},
            {"structured_outputs": {"regex": "a"}},
        ),
        ({"stream_options": {"include_usage": None, "x": None}}, {}),
        ({"stream_options": {"include_usage": False, "continuous_usage_stats": False}}, {}),
        ({"usage": {"include": None}, "modalities": None, "stop": None}, {}),
        (
            {"tools": [{"type": None, "x": None, "function": {"name": "f", "parameters": None, "strict": None}}]},
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "x": None, "function": {"name": "f", "y": None}}},
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_null_is_absent_at_every_depth(sent: dict[str, Any], kept: dict[str, Any]) -> None:
    assert chat(**sent).body == {"messages": [USER], **kept}


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
def test_null_is_absent_in_messages_of_every_role(role: str) -> None:
    nothing = dict.fromkeys(["tool_calls", "function_call", "audio", "refusal", "name", "reasoning", "zzz", "images"])
    message = {"role": role, "content": "Hi"} | ({"tool_call_id": "c"} if role == "tool" else {"tool_call_id": None})
    assert said(message | nothing) == {key: item for key, item in message.items() if item is not None}


def test_null_means_null_in_schemas_and_arguments() -> None:
    schema = {"type": ["string", "null"], "enum": [None, "a"], "default": None, "const": None, "x": {"y": [None]}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    output = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    body = chat(tools=[tool], response_format=output, chat_template_kwargs={"a": None}).body
    assert (body["tools"], body["response_format"], body["chat_template_kwargs"]) == ([tool], output, {"a": None})
    assert said({"role": "assistant", "tool_calls": [CALL]})["tool_calls"] == [CALL]


@pytest.mark.parametrize(
    "extra",
    [
        {"annotations": [], "audio": {"id": "a"}, "parsed": None, "id": "msg_1", "status": "completed"},
        {"thinking_blocks": [{"type": "thinking", "thinking": "…", "signature": "s"}], "provider_specific_fields": {}},
        {"reasoning_details": [{"type": "reasoning.text", "text": "…"}], "native_finish_reason": "STOP", "index": 0},
        {"extra_content": {"google": {"thought_signature": "s"}}},
        {"content_filter_results": {"hate": {"filtered": False}}, "context": {"citations": []}, "end_turn": True},
        {"additional_kwargs": {}, "response_metadata": {"a": 1}, "usage_metadata": {}, "invalid_tool_calls": []},
        {"citations": [], "search_results": [], "model": "x", "usage": {"input_tokens": 1}, "stop_reason": "end_turn"},
        {"cache_control": {"type": "ephemeral", "ttl": "1h"}, "finish_reason": "stop", "logprobs": None},
        {"thinking": "hm", "done": True, "created_at": "2026-01-01"},
        {"token_ids": [1], "weight": 0, "timings": {}, "executed_tools": []},
        {"function_call": {"name": "f", "arguments": "{}"}},
    ],
    ids=lambda extra: ",".join(extra),
)
def test_what_other_vendors_answers_had_is_dropped_from_messages(extra: dict[str, Any]) -> None:
    message = {"role": "assistant", "content": "Hello", "reasoning_content": "Short."}
    assert said(message | extra) == message


def test_what_other_vendors_answers_had_is_dropped_from_parts_calls_and_tools() -> None:
    parts = [
        {"type": "thinking", "thinking": "…", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []},
        {"type": "text", "text": "!", "cache_control": {"type": "ephemeral"}, "citations": [], "id": "p1"},
    ]
    kept = [{"type": "text", "text": "Hello"}, {"type": "text", "text": "!"}]
    assert said({"role": "assistant", "content": parts})["content"] == kept
    assert said({"role": "user", "content": ["Hello", {"type": "text", "text": "!"}]})["content"] == kept
    extra: dict[str, Any] = {
        "index": 0,
        "extra_content": {"google": {"thought_signature": "s"}},
        "provider_specific_fields": {"a": 1},
    }
    extra["caller"] = {"type": "direct"}
    call = CALL | extra | {"function": {**CALL["function"], "thought_signature": "s", "parsed_arguments": {"a": 1}}}
    assert said({"role": "assistant", "tool_calls": [call]})["tool_calls"] == [CALL]
    marked: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}
    assert chat(tools=[TOOL | marked | {"function": TOOL["function"] | marked}], **marked).body["tools"] == [TOOL]


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ({"role": "assistant", "content": [], "tool_calls": [CALL]}, {"tool_calls": [CALL]}),
        ({"role": "assistant", "content": [{"type": "thinking"}], "tool_calls": [CALL]}, {"tool_calls": [CALL]}),
        ({"role": "assistant", "content": None, "reasoning": "hm"}, {"content": "", "reasoning": "hm"}),
        ({"role": "assistant", "content": None, "tool_calls": [], "function_call": None}, {"content": ""}),
        ({"role": "tool", "tool_call_id": "c", "content": None}, {"tool_call_id": "c", "content": ""}),
        ({"role": "tool", "tool_call_id": "c", "content": []}, {"tool_call_id": "c", "content": ""}),
        ({"role": "user", "content": "Hi", "tool_calls": None}, {"content": "Hi"}),
        ({"role": "assistant", "tool_calls": [CALL | {"function": {"name": "f", "arguments": None}}]},
         {"tool_calls": [CALL | {"function": {"name": "f", "arguments": "{}"}}]}),
    ],
    ids=lambda value: str(value)[:70],
)  # fmt: skip
def test_an_answer_that_said_nothing_can_be_sent_back(message: dict[str, Any], kept: dict[str, Any]) -> None:
    assert said(message) == {"role": message["role"], **kept}


@pytest.mark.parametrize("id_", ["", "call_1__thought__" + "x" * 5_000])
def test_ids_of_calls_are_as_their_vendor_made_them(id_: str) -> None:
    assert said({"role": "assistant", "tool_calls": [CALL | {"id": id_}]})["tool_calls"][0]["id"] == id_
    assert said({"role": "tool", "tool_call_id": id_, "content": "1"})["tool_call_id"] == id_


def test_an_answer_in_another_form_than_text_is_still_refused_when_it_is_all_there_is() -> None:
    for form in ({"audio": {"id": "a"}}, {"function_call": {"name": "f", "arguments": "{}"}, "content": ""}):
        with pytest.raises(BadRequest) as refusal:
            said({"role": "assistant", **form})
        assert refusal.value.code == "unsupported_parameter"


@pytest.mark.parametrize(
    "fields",
    [{"tools": []}, {"tools": [], "tool_choice": "auto"}, {"tools": None, "tool_choice": "none"},
     {"tool_choice": "auto"}, {"tools": [], "parallel_tool_calls": False}, {"parallel_tool_calls": True}],
    ids=str,
)  # fmt: skip
def test_no_tools_are_no_tools(fields: dict[str, Any]) -> None:
    assert chat(**fields).body == {"messages": [USER]}


def test_equal_limits_under_two_names_are_one() -> None:
    request = chat(max_tokens=7, max_completion_tokens=7)
    assert request.body == {"messages": [USER], "max_completion_tokens": 7}
    assert request.max_output_tokens == 7


@pytest.mark.parametrize("top_p", [0, 0.0])
def test_a_top_p_of_0_is_greedy(top_p: float) -> None:
    assert chat(top_p=top_p).body == {"messages": [USER], "temperature": 0}
    assert chat(top_p=top_p, temperature=1.5).body["temperature"] == 0


@pytest.mark.parametrize(
    "greedy", [{"temperature": 0}, {"temperature": 1e-6}, {"top_p": 0}, {"top_p": 0, "min_p": 0.1}]
)
def test_several_greedy_answers_are_asked_for_in_a_way_that_vllm_gives_them(greedy: dict[str, Any]) -> None:
    request = chat(n=3, **greedy)
    assert request.body == {"messages": [USER], "n": 3, "temperature": 1, "top_k": 1}
    assert request.choices == 3


def test_a_body_may_begin_with_a_byte_order_mark(stack: Stack) -> None:
    body = orjson.dumps({"model": "triage", "messages": [USER], "max_tokens": 1})
    assert stack.post(CHAT, b"\xef\xbb\xbf" + body).status_code == 200


@pytest.mark.parametrize(
    "extra",
    ["reasoning_details", "thinking_blocks", "annotations", "model", "finish_reason", "response_metadata",
     "additional_kwargs"],
)  # fmt: skip
def test_what_an_answer_had_is_dropped_from_its_calls(extra: str) -> None:
    assert said({"role": "assistant", "tool_calls": [CALL | {extra: [{"a": 1}]}]})["tool_calls"] == [CALL]


@pytest.mark.parametrize("role", ["system", "developer", "user", "tool"])
def test_what_an_answer_had_is_dropped_from_messages_of_every_role(role: str) -> None:
    message = {"role": role, "content": "Hi"} | ({"tool_call_id": "c"} if role == "tool" else {})
    extra: dict[str, Any] = dict.fromkeys(["reasoning", "reasoning_content", "refusal", "tool_plan"], "hm")
    extra |= {
        "safety_ratings": [],
        "vertex_ai": {},
        "toolInvocations": [],
        "parts": [],
        "prefix": True,
        "partial": True,
    }
    assert said(message | extra) == message


@pytest.mark.parametrize("form", ["parts", "toolInvocations"])
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_what_is_said_only_where_nobody_reads_it_is_refused_with_the_remedy(role: str, form: str) -> None:
    with pytest.raises(BadRequest, match=r"as '(content|tool_calls)'") as refusal:
        said({"role": role, form: [{"type": "text", "text": "Hello"}]})
    assert refusal.value.param == f"messages[1].{form}"


@pytest.mark.parametrize("kind", ["tool_use", "tool-call", "tool_result", "server_tool_use", "step-start", "reasoning"])
def test_parts_that_repeat_the_calls_are_dropped(kind: str) -> None:
    content = [{"type": kind, "id": "c", "name": "f", "input": {}}, {"type": "text", "text": "Hello"}]
    kept = said({"role": "assistant", "content": content, "tool_calls": [CALL]})
    assert kept == {"role": "assistant", "content": content[1:], "tool_calls": [CALL]}


@pytest.mark.parametrize(("role", "kind"), [("assistant", "tool_use"), ("user", "tool_result"), ("tool", "tool_use")])
def test_parts_that_are_the_only_call_or_result_are_refused_with_the_remedy(role: str, kind: str) -> None:
    with pytest.raises(BadRequest, match=r"'tool_calls'.*'tool'.*'tool_call_id'"):
        said({"role": role, "content": [{"type": kind, "id": "c"}], "tool_call_id": "c"} if role == "tool" else
             {"role": role, "content": [{"type": kind, "id": "c"}]})  # fmt: skip


def test_a_null_item_is_absent() -> None:
    assert chat(stop=[None, "a"]).body["stop"] == ["a"]
    assert chat(stop_token_ids=[1, None]).body["stop_token_ids"] == [1]
    assert chat(messages=[None, USER, None]).body["messages"] == [USER]
    assert chat(tools=[None, TOOL], tool_choice="required").body["tools"] == [TOOL]
    assert chat(documents=[None, {"text": "x"}]).body["documents"] == [{"text": "x"}]
    parts = [None, {"type": "text", "text": "x"}]
    assert said({"role": "user", "content": parts})["content"] == parts[1:]
    assert said({"role": "assistant", "tool_calls": [None, CALL]})["tool_calls"] == [CALL]
    assert chat(structured_outputs={"choice": ["a", None]}).body["structured_outputs"] == {"choice": ["a"]}
    none = chat(structured_outputs={"json": None, "regex": None}, response_format={"type": "json_object"})
    assert none.body == {"messages": [USER], "response_format": {"type": "json_object"}}
    for empty in ({"messages": [None]}, {"messages": [{"role": "user", "content": [None]}]}):
        with pytest.raises(BadRequest):
            chat(**empty)
    with pytest.raises(BadRequest) as refusal:
        chat(stop=[None, 3])
    assert refusal.value.param == "stop[1]"


@pytest.mark.parametrize("fields", [{"max_completion_tokens": 7}, {"max_completion_tokens": 7, "max_tokens": 7}])
def test_completions_take_the_newer_name_of_their_limit(fields: dict[str, Any]) -> None:
    body = orjson.dumps({"model": "m", "prompt": "Hi", **fields})
    request = DIALECTS["completions"].parse(body, caps=Caps(), allow_unknown=False)
    assert request.body == {"prompt": "Hi", "max_tokens": 7}
    assert request.max_output_tokens == 7


def test_no_list_of_what_is_dropped_has_a_key_that_is_read() -> None:
    assert not replayed.IN_MESSAGE & {"role", "content", "name", "tool_calls", "tool_call_id", "reasoning", "refusal"}
    assert not replayed.IN_PART & {"type", "text", "refusal"}
    assert not replayed.IN_CALL & {"id", "type", "function"}
    assert not replayed.IN_FUNCTION_OF_CALL & {"name", "arguments"}
    assert not replayed.IN_TOOL & {"type", "function", "name", "description", "parameters", "strict"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("replays")
    with open_house(folder) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house) as stack:
            yield stack


def test_a_conversation_of_another_vendor_is_answered_over_the_socket(stack: Stack) -> None:
    body = {
        "model": "acme/triage",
        "messages": [
            {
                "role": "system",
                "content": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
            },
            USER | {"tool_calls": None},
            {"role": "assistant", "content": [], "tool_calls": [CALL | {"index": 0}], "reasoning_details": []},
            {"role": "tool", "tool_call_id": "c", "content": "1", "cache_control": None},
        ],
        "tools": [],
        "tool_choice": "auto",
        "top_p": 0,
        "max_tokens": 3,
        "max_completion_tokens": 3,
        "n": 2,
    }
    answer = stack.post(CHAT, body)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["choices"]) == 2
    assert answer.json()["usage"]["prompt_tokens_details"].keys() == {"cached_tokens"}


@pytest.mark.parametrize("number", ["max_tokens", "n", "seed", "top_k", "min_tokens", "top_logprobs"])
def test_an_integer_may_be_written_with_a_fraction_of_nothing(number: str) -> None:
    fields: dict[str, Any] = {number: 2.0, "logprobs": True} if number == "top_logprobs" else {number: 2.0}
    sent = chat(**fields)
    assert (sent.body[number], type(sent.body[number])) == (2, int)
    for wrong in (2.5, 1e300, "2", True, -1e19):
        with pytest.raises(BadRequest) as refused:
            chat(**{**fields, number: wrong})
        assert refused.value.param == number


def test_token_ids_and_nested_integers_may_be_written_so_too() -> None:
    assert chat(stop_token_ids=[1.0, 2, None, 3.0]).body["stop_token_ids"] == [1, 2, 3]
    pattern = {"max_pattern_size": 4.0, "min_count": 2.0}
    assert str(chat(repetition_detection=pattern).body["repetition_detection"]) == str(
        {"max_pattern_size": 4, "min_count": 2}
    )
    for prompt, kept in (([1.0, 2.0], [1, 2]), ([[1.0], [2, 3.0]], [[1], [2, 3]])):
        raw = orjson.dumps({"model": "m", "prompt": prompt, "max_tokens": 5.0})
        sent = DIALECTS["completions"].parse(raw, caps=Caps(), allow_unknown=False)
        assert (str(sent.body["prompt"]), sent.choices) == (str(kept), len(kept) if type(kept[0]) is list else 1)
    with pytest.raises(BadRequest, match=r"'stop_token_ids\[1\]' must be a token id"):
        chat(stop_token_ids=[1.0, 1.5])


@pytest.mark.parametrize("name", ["github.create_issue", "srv/tool:1", "a" * 256, "werkzeug für dich", "-", "x'y"])
def test_a_function_may_have_any_name_of_a_line(name: str) -> None:
    tool = {"type": "function", "function": {"name": name}}
    output = {"type": "json_schema", "json_schema": {"name": name, "schema": {}}}
    assert chat(tools=[tool], tool_choice=tool).body["tools"] == [tool]
    assert chat(response_format=output).body["response_format"]["json_schema"]["name"] == name
    for wrong in ("", "a" * 257, "a\nb", "\x00", 5, None):
        with pytest.raises(BadRequest, match="must be 1 to 256 printable characters"):
            chat(tools=[{"type": "function", "function": {"name": wrong}}])
