"""What an engine is asked for one of Anthropic's Messages: the chat that vLLM makes of the same one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.messages_parts import CALL, RESULT, TOOL, USER, chat, request, text

FUNCTION = {"name": "f", "description": "Does it.", "parameters": {"type": "object"}}
CHAT_CALL = {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": '{"a":[1]}'}}
HELLO = {"role": "assistant", "content": "Hello"}
CACHED = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


@pytest.mark.parametrize(
    ("messages", "asked"),
    [
        ([USER, HELLO, USER], [USER, HELLO, USER]),
        ([{"role": "user", "content": [text("Hi", **CACHED), text("")]}], [USER]),
        (
            [{"role": "user", "content": [text("Hi"), text("there")]}],
            [{"role": "user", "content": [text("Hi"), text("there")]}],
        ),
        ([USER, {"role": "assistant", "content": []}, USER], [USER, {"role": "assistant", "content": ""}, USER]),
        (
            [USER, {"role": "assistant", "content": [text("Well."), CALL | {"caller": {"type": "direct"}}]}],
            [USER, {"role": "assistant", "tool_calls": [CHAT_CALL], "content": "Well."}],
        ),
        ([USER, {"role": "assistant", "content": [CALL]}], [USER, {"role": "assistant", "tool_calls": [CHAT_CALL]}]),
        (
            [{"role": "user", "content": [text("So?"), RESULT | {"is_error": True} | CACHED]}],
            [{"role": "tool", "tool_call_id": "toolu_1", "content": "done"}, {"role": "user", "content": "So?"}],
        ),
        (
            [{"role": "user", "content": [RESULT | {"content": [text("a"), text("b", **CACHED)]}]}],
            [{"role": "tool", "tool_call_id": "toolu_1", "content": "a\nb"}],
        ),
        (
            [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x"}]}],
            [{"role": "tool", "tool_call_id": "x", "content": ""}],
        ),
        (
            [
                USER,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "Hm, ", "signature": "s"},
                        {"type": "redacted_thinking", "data": "zz"},
                        {"type": "thinking", "thinking": "so."},
                        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
                        text("Hello", citations=None),
                    ],
                },
                USER,
            ],
            [USER, {"role": "assistant", "reasoning": "Hm, so.", "content": "Hello"}, USER],
        ),
        (
            [USER, {"role": "system", "content": [text("Be "), text("brief.")], "clear_at": "never"}, USER],
            [USER, {"role": "system", "content": "Be brief."}, USER],
        ),
        ([USER, {"role": "system", "content": "x-anthropic-billing-header: a"}], [USER]),
        ([USER | {"content": [text("")]}, USER], [USER]),
        ([None, USER | CACHED], [USER]),
        ([USER, HELLO | {"id": "msg_1", "type": "message", "stop_reason": "end_turn"}, USER], [USER, HELLO, USER]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_messages_are_those_of_a_chat(messages: list[Any], asked: list[Any]) -> None:
    assert chat(messages=messages)["messages"] == asked


@pytest.mark.parametrize(
    ("system", "asked"),
    [
        ("Be kind.", "Be kind."),
        ([text("Be ", **CACHED), text("kind.")], "Be kind."),
        ([text("x-anthropic-billing-header: cc_version=2; cch=1"), text("Be kind.")], "Be kind."),
        ("", None),
        ([], None),
        ([text("")], None),
    ],
)
def test_a_system_prompt_is_the_first_message(system: Any, asked: str | None) -> None:
    first = [] if asked is None else [{"role": "system", "content": asked}]
    assert chat(system=system)["messages"] == [*first, USER]


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"temperature": 1, "top_p": 0.5, "top_k": 7}, {"temperature": 1, "top_p": 0.5, "top_k": 7}),
        ({"stop_sequences": ["a"]}, {"stop": ["a"]}),
        ({"stop_sequences": []}, {}),
        ({"tools": [TOOL]}, {"tools": [{"type": "function", "function": FUNCTION}]}),
        (
            {"tools": [{"name": "g", "input_schema": {}, "type": "custom", "strict": True, "defer_loading": True}]},
            {
                "tools": [
                    {"type": "function", "function": {"name": "g", "parameters": {"type": "object"}, "strict": True}}
                ]
            },
        ),
        ({"tools": []}, {}),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, {}),
        ({"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 1_024}, "max_tokens": 2_000},
            {"thinking_token_budget": 1_024, "max_completion_tokens": 2_000},
        ),
        (
            {"output_config": {"effort": "max", "task_budget": {"total": 9}}},
            {"reasoning_effort": "max"},
        ),
        ({"chat_template_kwargs": {"enable_thinking": False}}, {"chat_template_kwargs": {"enable_thinking": False}}),
        *(
            (
                fields,
                {
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"name": "json_schema", "schema": {"type": "object"}},
                    }
                },
            )
            for fields in (
                {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
                {"output_format": {"type": "json_schema", "schema": {"type": "object"}}},
            )
        ),
        (
            {
                "cache_control": {"type": "ephemeral"},
                "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
                "metadata": {"user_id": "u"},
                "service_tier": "auto",
                "speed": "fast",
                "mcp_servers": [],
                "container": None,
            },
            {},
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_fields_are_those_of_a_chat(fields: dict[str, Any], asked: dict[str, Any]) -> None:
    assert chat(**fields) == {"messages": [USER], "max_completion_tokens": 9, **asked}


@pytest.mark.parametrize(
    ("choice", "asked"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any", "disable_parallel_tool_use": True}, {"tool_choice": "required", "parallel_tool_calls": False}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "f"}, {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
    ],
)
def test_the_choice_of_a_tool_is_a_chats(choice: dict[str, Any], asked: dict[str, Any]) -> None:
    sent = chat(tools=[TOOL], tool_choice=choice)
    assert {name: sent[name] for name in sent if name in ("tool_choice", "parallel_tool_calls")} == asked


def test_an_answer_that_the_client_has_begun_goes_on() -> None:
    begun = {"role": "assistant", "content": "The answer is"}
    asked = chat(messages=[USER, begun])
    assert asked["messages"] == [USER, begun]
    assert (asked["continue_final_message"], asked["add_generation_prompt"]) == (True, False)
    assert "continue_final_message" not in chat(messages=[USER, {"role": "assistant", "content": ""}])
    assert "continue_final_message" not in chat(messages=[USER, {"role": "assistant", "content": [text("x"), CALL]}])


def test_the_engine_is_asked_for_a_stream_for_who_reads_one_and_for_who_pays() -> None:
    whole, stream = request(), request(stream=True)
    paid = whole.dialect.counted(whole)
    assert (whole.stream, whole.assembled) == (False, False)
    assert (paid.stream, paid.assembled) == (False, True)
    assert (stream.stream, stream.assembled) == (True, False)
    assert paid.body.keys() - stream.body.keys() == {"stream_interval"}
    assert whole.max_output_tokens == 9


def test_the_user_and_the_conversation_are_known_to_splits() -> None:
    known = request(metadata={"user_id": "ann", "conversation_id": "c"})
    assert (known.user, known.conversation_id) == ("ann", "c")
    counted = request(dialect="count_tokens", max_tokens=..., metadata={"user_id": "ann"})
    assert (counted.user, counted.conversation_id) == ("ann", None)


def test_a_prompt_is_counted_as_it_is_served() -> None:
    fields: dict[str, Any] = {
        "system": "Be kind.",
        "tools": [TOOL],
        "thinking": {"type": "disabled"},
        "messages": [USER, {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}, text("Hello")]}],
    }
    served, counted = request(**fields), request(dialect="count_tokens", max_tokens=..., **fields)
    assert counted.body["messages"] == served.body["messages"]
    assert counted.body["tools"] == served.body["tools"]
    assert counted.body["chat_template_kwargs"] == {"enable_thinking": False, "reasoning_effort": "none"}
    assert (counted.body["continue_final_message"], counted.body["add_generation_prompt"]) == (True, False)
    assert counted.body.keys() <= counted.dialect.engine_fields


def test_what_nobody_knows_does_not_reach_the_engine_even_where_it_passes() -> None:
    new = {"new": {"a": [1]}}
    fields: dict[str, Any] = {
        "messages": [USER | new, {"role": "user", "content": [text("a", **new)]}],
        "tools": [TOOL | new],
        "n": 8,
        **new,
    }
    asked = chat(allow_unknown=True, **fields)
    assert asked["messages"] == [USER, {"role": "user", "content": "a"}]
    assert asked["tools"] == [{"type": "function", "function": FUNCTION}]
    assert not asked.keys() & {"n", "new"}
