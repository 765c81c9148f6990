"""Bodies that clients rightly send, and what becomes of them."""

from __future__ import annotations

from typing import Any, Literal

import orjson
import pytest

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.api.fields.table import RESERVED, UNSUPPORTED
from gateway.errors import BadRequest
from gateway.handoffs import InferenceRequest

Endpoint = Literal["chat", "completions"]
USER = {"role": "user", "content": "Where is my order?"}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "strict": True,
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}
ANSWERED = [
    USER,
    {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": [CALL],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
]
SCHEMA = {"name": "answer", "strict": True, "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}

EVERY_EVENT = {"include_usage": True, "continuous_usage_stats": True}


def parse(endpoint: Endpoint, body: dict[str, Any], *, allow_unknown: bool = False, **caps: Any) -> InferenceRequest:
    return DIALECTS[endpoint].parse(orjson.dumps(body), caps=Caps(**caps), allow_unknown=allow_unknown)


def chat(**fields: Any) -> InferenceRequest:
    return parse("chat", {"model": "support", "messages": [USER]} | fields)


def completions(**fields: Any) -> InferenceRequest:
    return parse("completions", {"model": "support", "prompt": "Once upon"} | fields)


FORWARDED_AS_SENT: list[tuple[Endpoint, dict[str, Any]]] = [
    ("chat", {}),
    ("chat", {"temperature": 0, "top_p": 1, "max_tokens": 64, "seed": -1, "n": 1}),
    ("chat", {"temperature": 0.7, "n": 8, "max_completion_tokens": 2}),
    ("chat", {"stop": "\n"}),
    ("chat", {"stop": ["\n", "END"]}),
    ("chat", {"stop": []}),
    ("chat", {"logit_bias": {"50256": -100, "11": 3.5}}),
    ("chat", {"logprobs": True, "top_logprobs": 20}),
    ("completions", {"prompt": ["x"] * 128, "max_tokens": 1, "logprobs": 20}),
    ("chat", {"top_logprobs": 0}),
    ("chat", {"frequency_penalty": -2, "presence_penalty": 2.0}),
    ("chat", {"tools": [WEATHER], "tool_choice": "auto", "parallel_tool_calls": False}),
    ("chat", {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}}),
    ("chat", {"tools": [WEATHER], "tool_choice": "none"}),
    ("chat", {"response_format": {"type": "text"}}),
    ("chat", {"response_format": {"type": "json_object"}}),
    ("chat", {"response_format": {"type": "json_schema", "json_schema": SCHEMA}}),
    ("chat", {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}}),
    ("chat", {"top_k": -1, "min_p": 0.05, "repetition_penalty": 1.1, "min_tokens": 3, "max_tokens": 3}),
    ("chat", {"structured_outputs": {"regex": "[0-9]{1,3}"}, "ignore_eos": True}),
    ("chat", {"structured_outputs": {"choice": ["yes", "no"]}}),
    ("chat", {"structured_outputs": {"json": '{"type":"object"}', "disable_any_whitespace": True}}),
    ("chat", {"stop_token_ids": [0, 2**31 - 1], "bad_words": ["damn"], "allowed_token_ids": [1]}),
    ("chat", {"continue_final_message": True, "add_generation_prompt": False}),
    ("chat", {"documents": [{"title": "a", "text": "b"}]}),
    ("chat", {"repetition_detection": {"max_pattern_size": 8, "min_count": 3}}),
    ("chat", {"logprobs": True, "logprob_token_ids": [3, 4]}),
    ("chat", {"messages": [{"role": "developer", "content": "Be brief."}, USER | {"name": "Ann Ex"}]}),
    ("chat", {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}),
    ("chat", {"messages": [USER, {"role": "assistant", "content": "", "reasoning": "hm"}]}),
    ("chat", {"messages": [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}]}),
    ("completions", {}),
    ("completions", {"prompt": ["a", "b"], "n": 2, "best_of": None}),
    ("completions", {"prompt": [1, 2, 3], "echo": True, "max_tokens": 0}),
    ("completions", {"prompt": [[1], [2, 3]], "suffix": "end"}),
    ("completions", {"logprobs": 5, "truncate_prompt_tokens": -1}),
]


@pytest.mark.parametrize(("endpoint", "fields"), FORWARDED_AS_SENT, ids=lambda value: str(value)[:60])
def test_a_good_field_reaches_the_engine_as_it_was_sent(endpoint: Endpoint, fields: dict[str, Any]) -> None:
    request = chat(**fields) if endpoint == "chat" else completions(**fields)
    sent = {"messages": [USER]} if endpoint == "chat" else {"prompt": "Once upon"}
    assert request.body == {name: value for name, value in (sent | fields).items() if value is not None}
    assert request.model == "support"
    assert not request.stream


NOT_FORWARDED: list[tuple[Endpoint, dict[str, Any]]] = [
    ("chat", {"user": "u-1", "safety_identifier": "s", "store": True, "service_tier": "auto"}),
    ("chat", {"prompt_cache_key": "k", "prompt_cache_retention": "24h", "prompt_cache_options": {"mode": "explicit"}}),
    ("chat", {"metadata": {"team": "a"}, "modalities": ["text"], "verbosity": "low"}),
    ("chat", {"prediction": {"type": "content", "content": "class A:"}}),
    ("chat", {"prediction": {"type": "content", "content": [{"type": "text", "text": "class A:"}]}}),
    ("chat", {"previous_response_id": "chatcmpl-1"}),
    ("chat", {"usage": {"include": True}}),
    ("completions", {"usage": {}}),
    ("chat", {"priority": None, "functions": None, "temperature": None, "stop": None, "stream_options": None}),
    ("chat", {"stream": False}),
    ("completions", {"best_of": 1, "user": "u-1", "max_tokens": None}),
]


@pytest.mark.parametrize(("endpoint", "fields"), NOT_FORWARDED, ids=lambda value: str(value)[:60])
def test_what_the_engine_has_no_use_for_is_accepted_and_dropped(endpoint: Endpoint, fields: dict[str, Any]) -> None:
    request = chat(**fields) if endpoint == "chat" else completions(**fields)
    assert request.body.keys() == {"messages" if endpoint == "chat" else "prompt"}


def test_an_answer_of_the_sdk_can_be_sent_back_as_a_message() -> None:
    assert chat(messages=ANSWERED).body["messages"] == [
        USER,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]


def test_an_empty_list_of_tool_calls_is_dropped() -> None:
    sent = {"role": "assistant", "content": "Hi", "tool_calls": []}
    assert chat(messages=[USER, sent]).body["messages"][1] == {"role": "assistant", "content": "Hi"}


def test_cache_marks_on_text_parts_are_dropped() -> None:
    part = {"type": "text", "text": "Hi", "prompt_cache_breakpoint": {"mode": "explicit"}, "cache_control": None}
    assert chat(messages=[{"role": "user", "content": [part]}]).body["messages"][0]["content"] == [
        {"type": "text", "text": "Hi"}
    ]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (None, "never"),
        ({}, "never"),
        ({"include_usage": False}, "never"),
        ({"include_usage": True}, "at the end"),
        ({"include_usage": True, "continuous_usage_stats": True}, "always"),
    ],
)
def test_a_stream_always_asks_the_engine_for_its_count_in_every_event(
    options: dict[str, bool] | None, shown: str
) -> None:
    request = chat(stream=True, stream_options=options)
    assert request.stream
    assert request.shows_usage == shown
    assert request.body["stream"] is True
    assert request.body["stream_options"] == EVERY_EVENT


@pytest.mark.parametrize(
    ("usage", "cost", "shown"),
    [
        (None, False, "never"),
        ({}, False, "never"),
        ({"include": None}, False, "never"),
        ({"include": False}, False, "never"),
        ({"include": True}, True, "at the end"),
    ],
)
def test_who_asks_for_the_cost_of_a_stream_asks_for_its_usage(
    usage: dict[str, bool] | None, cost: bool, shown: str
) -> None:
    request = chat(stream=True, usage=usage)
    assert (request.shows_cost, request.shows_usage) == (cost, shown)
    assert "usage" not in request.body
    assert chat(usage=usage).shows_cost is cost
    assert chat(usage=usage).shows_usage == "never"
    assert chat(stream=True, usage=usage, stream_options=EVERY_EVENT).shows_usage == "always"


def test_padding_of_stream_events_is_accepted_and_not_forwarded() -> None:
    request = chat(stream=True, stream_options={"include_obfuscation": False})
    assert request.body["stream_options"] == EVERY_EVENT


@pytest.mark.parametrize(
    ("request_", "most", "choices"),
    [
        (chat(), None, 1),
        (chat(max_tokens=5), 5, 1),
        (chat(max_completion_tokens=6, n=3), 6, 3),
        (chat(max_tokens=7, max_completion_tokens=7), 7, 1),
        (completions(), 16, 1),
        (completions(max_tokens=9, prompt=["a", "b"], n=2), 9, 4),
        (completions(prompt=[1, 2]), 16, 1),
        (completions(max_tokens=0, echo=True), 0, 1),
    ],
)
def test_the_most_that_can_be_generated_is_known(request_: InferenceRequest, most: int | None, choices: int) -> None:
    assert (request_.max_output_tokens, request_.choices) == (most, choices)


def test_a_key_given_twice_counts_the_last_time_for_gateway_and_engine_alike() -> None:
    raw = b'{"model":"a","model":"b","messages":[{"role":"user","content":"x"}],"n":99,"n":2}'
    request = DIALECTS["chat"].parse(raw, caps=Caps(), allow_unknown=False)
    assert (request.model, request.body["n"]) == ("b", 2)


def test_unknown_fields_pass_where_the_operator_allows_them() -> None:
    body = {"model": "m", "messages": [USER], "new_sampler": {"a": [1]}, "nothing": None}
    request = parse("chat", body, allow_unknown=True)
    assert request.body == {"messages": [USER], "new_sampler": {"a": [1]}}


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
@pytest.mark.parametrize("name", [*RESERVED, *UNSUPPORTED])
def test_reserved_and_unsupported_fields_are_refused_even_where_unknown_ones_pass(
    endpoint: Endpoint, name: str
) -> None:
    body = {"model": "m", "messages": [USER]} if endpoint == "chat" else {"model": "m", "prompt": "x"}
    with pytest.raises(BadRequest) as refusal:
        parse(endpoint, body | {name: "x"}, allow_unknown=True)
    assert refusal.value.param == name
    assert refusal.value.code == ("reserved_parameter" if name in RESERVED else "unsupported_parameter")


def test_no_reserved_field_is_forwarded_by_any_table() -> None:
    for fields in (dialect.forwarded for dialect in DIALECTS.values()):
        assert not fields.keys() & (RESERVED.keys() | UNSUPPORTED.keys() | {"model"})


def test_the_caps_are_the_operators_to_set() -> None:
    body = {"model": "m", "messages": [USER], "n": 9}
    assert parse("chat", body, max_n=9).body["n"] == 9
    with pytest.raises(BadRequest, match="from 1 to 2, not 9"):
        parse("chat", body, max_n=2)
