"""Answers have what OpenAI's have, and of vLLM's own fields those that were asked for."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from gateway.engines.vllm.answers import events_without_extras, refusal_of, without_extras
from gateway.errors import BadRequest
from gateway.handoffs import EngineBroke

OWN = {"stop_reason", "token_ids", "routed_experts", "reasoning", "prompt_logprobs", "prompt_token_ids", "prompt_text"}
OWN |= {"kv_transfer_params", "ec_transfer_params", "metrics", "created_cache_tokens", "multimodal_tokens"}
TRICKY = '","token_ids":null} ,"kv_transfer_params":{"a":1} \\",\\"metrics\\":null \n\ndata: {"metrics":{}}'


def document(**more: Any) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": TRICKY, "refusal": None, "tool_calls": [], "reasoning": None},
        "logprobs": {"content": [{"token": TRICKY, "top_logprobs": []}]},
        "finish_reason": "stop",
        "stop_reason": None,
        "token_ids": None,
        "routed_experts": None,
    }
    details = {"cached_tokens": 0, "created_cache_tokens": None, "multimodal_tokens": None}
    return {
        "id": "c",
        "model": "m",
        "choices": [choice],
        "service_tier": None,
        "usage": {"prompt_tokens": 1, "prompt_tokens_details": details, "completion_tokens_details": None},
        "prompt_logprobs": None,
        "prompt_token_ids": None,
        "prompt_text": None,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "metrics": None,
        **more,
    }


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | set().union(*map(keys, value.values()), set())
    return set().union(*map(keys, value), set()) if isinstance(value, list) else set()


def test_nothing_of_vllms_own_is_left_and_nothing_else_is_touched() -> None:
    sent = document()
    shown = orjson.loads(without_extras(orjson.dumps(sent)))
    assert not keys(shown) & OWN
    assert shown["choices"][0]["message"] == {"role": "assistant", "content": TRICKY, "refusal": None, "tool_calls": []}
    assert shown["choices"][0]["logprobs"] == sent["choices"][0]["logprobs"]
    assert shown["service_tier"] is None
    assert shown["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}


@pytest.mark.parametrize("created", [0, 16, None])
@pytest.mark.parametrize("modal", [{"image": 3, "audio": 1}, {}, None])
def test_what_only_vllms_usage_counts_is_cut_whatever_its_value(created: int | None, modal: Any) -> None:
    details = {"cached_tokens": 0, "created_cache_tokens": created, "multimodal_tokens": modal}
    sent = document(usage={"prompt_tokens": 1, "prompt_tokens_details": details, "completion_tokens": 2})
    kept = {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens": 2}
    assert orjson.loads(without_extras(orjson.dumps(sent)))["usage"] == kept
    event = b"data: " + orjson.dumps(sent) + b"\n\n"
    assert orjson.loads(events_without_extras(event).strip().removeprefix(b"data: "))["usage"] == kept


def test_what_was_asked_for_is_left() -> None:
    sent = document(prompt_token_ids=[1], prompt_logprobs=[None, {"1": {"logprob": -1.0}}])
    sent["choices"][0] |= {"token_ids": [2], "stop_reason": "###"}
    sent["choices"][0]["message"]["reasoning"] = "hm"
    shown = orjson.loads(without_extras(orjson.dumps(sent)))
    assert shown["prompt_token_ids"] == [1]
    assert shown["prompt_logprobs"] == sent["prompt_logprobs"]
    assert (shown["choices"][0]["token_ids"], shown["choices"][0]["stop_reason"]) == ([2], "###")
    assert shown["choices"][0]["message"]["reasoning"] == "hm"


@pytest.mark.parametrize("name", ["kv_transfer_params", "ec_transfer_params", "metrics"])
def test_what_belongs_to_the_operator_is_never_shown(name: str) -> None:
    shown = orjson.loads(without_extras(orjson.dumps(document(**{name: {"host": "10.0.0.1", "deep": [{}]}}))))
    assert not keys(shown) & OWN
    assert shown["choices"][0]["message"]["content"] == TRICKY


def test_traces_of_experts_are_never_shown() -> None:
    sent = document()
    sent["choices"][0]["routed_experts"] = "AAAA"
    assert not keys(orjson.loads(without_extras(orjson.dumps(sent)))) & OWN


def test_a_token_that_is_called_like_a_field_keeps_its_probability() -> None:
    tops = {"kv_transfer_params": -0.5, "metrics": -1.0, "token_ids": -2.0, ',"token_ids":null': -3.0}
    tops |= {"created_cache_tokens": -0.0, "multimodal_tokens": -9999.0}
    sent = document()
    sent["choices"][0]["logprobs"] = {"top_logprobs": [None, tops], "tokens": list(tops)}
    shown = orjson.loads(without_extras(orjson.dumps(sent)))
    assert shown["choices"][0]["logprobs"] == {"top_logprobs": [None, tops], "tokens": list(tops)}


def test_events_of_a_stream_are_cut_one_by_one() -> None:
    first: dict[str, Any] = {
        "choices": [{"index": 0, "delta": {"content": TRICKY}, "token_ids": None}],
        "metrics": {"a": 1},
    }
    last: dict[str, Any] = {
        "choices": [{"index": 0, "delta": {}, "stop_reason": None, "token_ids": [3]}],
        "prompt_text": None,
    }
    block = (
        b": ping\n\n" + b"".join(b"data: " + orjson.dumps(one) + b"\n\n" for one in (first, last)) + b"data: [DONE]\n\n"
    )
    ping, *events, done, end = events_without_extras(block).split(b"\n\n")
    assert (ping, done, end) == (b": ping", b"data: [DONE]", b"")
    assert [orjson.loads(one.removeprefix(b"data: ")) for one in events] == [
        {"choices": [{"index": 0, "delta": {"content": TRICKY}}]},
        {"choices": [{"index": 0, "delta": {}, "token_ids": [3]}]},
    ]


@pytest.mark.parametrize(
    "data", [b'{"metrics":{', b'["a","metrics":{}]', b'[{"metrics":{}}]', b'{"choices":[3],"metrics":{}}']
)
def test_an_answer_that_is_none_shows_nothing(data: bytes) -> None:
    with pytest.raises(EngineBroke):
        without_extras(data)


@pytest.mark.parametrize(
    ("message", "param", "field"),
    [
        (
            "This model's maximum context length is 8 tokens. However, your prompt contains 9 input tokens, which "
            "exceeds this limit even without any output tokens. (parameter=input_tokens, value=9)",
            "input_tokens",
            "prompt",
        ),
        (
            "This model's maximum context length is 8 tokens. However, your prompt contains 99 characters (more than 9 "
            "characters, which is the upper bound for 7 input tokens). (parameter=input_text, value=99)",
            None,
            "prompt",
        ),
        (
            "max_tokens=9 cannot be greater than max_model_len=8. (parameter=max_tokens, value=9)",
            "max_tokens",
            "max_tokens",
        ),
        (
            "The decoder prompt (length 9) is longer than the maximum model length of 8. Make sure that "
            "`max_model_len` is no smaller than the number of text tokens.",
            None,
            "prompt",
        ),
        ("Input length (9) exceeds model's maximum context length (8).", None, "prompt"),
        ("max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)", "max_tokens", "prompt"),
    ],
)
def test_each_way_in_which_vllm_says_too_long_is_known(message: str, param: str | None, field: str) -> None:
    refusal = refusal_of(message, param, "prompt")
    assert isinstance(refusal, BadRequest)
    assert (refusal.code, refusal.param) == ("context_length_exceeded", field)
    assert "(parameter=" not in refusal.message
    assert not re.search("max_model_len` is|Make sure|Please", refusal.message), "clients cannot start engines anew"
    assert ("8 tokens for prompt and answer" in refusal.message) == ("got 0" not in message)
    told = refusal_of(message, param, "prompt", 8)
    assert told is not None
    assert f"'{field}' " in told.message
    assert "this model, 8 tokens for prompt and answer together." in told.message


def test_a_prompt_that_is_to_be_cut_to_more_than_the_context_is_no_prompt_that_is_too_long() -> None:
    message = "truncate_prompt_tokens=100 cannot be greater than max_model_len = 8. Please request a smaller one."
    refusal = refusal_of(message, "truncate_prompt_tokens", "messages")
    assert refusal is not None
    assert (refusal.code, refusal.param) == ("invalid_value", "truncate_prompt_tokens")


def test_other_refusals_are_not_about_the_context() -> None:
    assert refusal_of("n must be 1 when using greedy sampling, got 3.", "n", "messages") is None
