"""Good bodies, broken at random: whatever arrives is either accepted whole or refused in OpenAI's envelope."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.errors import ApiError
from gateway.handoffs import Endpoint

TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL: dict[str, Any] = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USE: dict[str, Any] = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1, {"b": None}]}}
TEXT: dict[str, Any] = {"type": "text", "text": "Hi"}
DEEP: dict[str, Any] = {"a": [[[[{"b": [[[[[[{}]]]]]]}]]]]}

RICH: dict[Endpoint, dict[str, Any]] = {
    "chat": {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}], "name": "Ann"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ],
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
        "logit_bias": {"1": 2},
        "stop": ["a", "b"],
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "metadata": {"conversation_id": "c"},
        "n": 2,
        "temperature": 0.5,
        "min_tokens": 1,
        "max_tokens": 4,
        "max_completion_tokens": 4,
        "logprobs": True,
        "top_logprobs": 2,
        "logprob_token_ids": [1],
        "chat_template_kwargs": {"a": 1},
        "documents": [{"text": "a"}],
        "repetition_detection": {"max_pattern_size": 4, "min_pattern_size": 1, "min_count": 2},
        "modalities": ["text"],
    },
    "completions": {
        "model": "m",
        "prompt": [[1, 2], [3]],
        "structured_outputs": {"choice": ["a", "b"], "whitespace_pattern": " "},
        "logprobs": 2,
        "n": 2,
        "best_of": 2,
        "max_tokens": 3,
        "min_tokens": 1,
        "stop": "x",
        "previous_response_id": "r",
    },
    "responses": {
        "model": "m",
        "input": [
            {"role": "user", "content": "Hi"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
            {
                "type": "reasoning",
                "id": "rs",
                "summary": [{"type": "summary_text", "text": "So."}],
                "status": "completed",
            },
            {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm."}], "encrypted_content": "x"},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}],
            },
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "1"}]},
            {"type": "message", "role": "assistant", "status": "incomplete", "content": "I"},
        ],
        "instructions": "Be kind.",
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        "text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}, "verbosity": "low"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
        "stream": True,
        "stream_options": {"include_obfuscation": True},
        "max_output_tokens": 4,
        "min_tokens": 1,
        "truncation": "auto",
        "conversation": {"id": "conv_1"},
        "metadata": {"conversation_id": "c"},
        "usage": {"include": True},
        "stop": ["a"],
    },
    "messages": {
        "model": "m",
        "max_tokens": 2_000,
        "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, USE]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t", "content": [TEXT], "is_error": True}],
            },
            {"role": "system", "content": [TEXT]},
            {"role": "user", "content": "Well?"},
            {"role": "assistant", "content": "The"},
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True}],
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        "stop_sequences": ["a", "b"],
        "temperature": 0.5,
        "top_k": 3,
        "stream": True,
        "metadata": {"user_id": "u", "conversation_id": "c"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
        "service_tier": "auto",
    },
}
RICH["count_tokens"] = {
    name: RICH["messages"][name] for name in ("model", "system", "messages", "tools", "tool_choice", "thinking")
}
STRANGE: list[Any] = [
    None, True, False, 0, 1, -1, 2, 2**31, 2**63, 2**64 - 1, -(2**63), 0.0, 1.5, 1e308, "", "a", "text", "function",
    "\x00", "é" * 99, [], [[]], [None], [1], ["a"], {}, {"a": None}, {"type": "text"}, {"type": "function"}, [{}], DEEP,
]  # fmt: skip


def _mutated(value: Any, chance: random.Random) -> Any:
    """A copy of `value` with a few of its nodes replaced, dropped, doubled or renamed."""
    if chance.random() < 0.01:
        return chance.choice(STRANGE)
    if type(value) is dict:
        kept = {key: _mutated(item, chance) for key, item in value.items() if chance.random() > 0.01}
        if chance.random() < 0.02:
            kept[chance.choice(["priority", "uuid", "type", "json", "regex", "zzz"])] = chance.choice(STRANGE)
        return kept
    if type(value) is list:
        items = [_mutated(item, chance) for item in value if chance.random() > 0.01]
        return items * 2 if chance.random() < 0.01 else items
    return value


def test_the_unmutated_bodies_are_good() -> None:
    choices = {"chat": 2, "completions": 4, "responses": 1, "messages": 1, "count_tokens": 1}
    for endpoint, body in RICH.items():
        request = DIALECTS[endpoint].parse(orjson.dumps(body), caps=Caps(), allow_unknown=False)
        assert request.choices == choices[endpoint]


def _chat_accepts(body: Mapping[str, Any]) -> bool:
    asked = {name: value for name, value in body.items() if name != "stream_interval"}
    return bool(DIALECTS["chat"].parse(orjson.dumps({**asked, "model": "m"}), caps=Caps(), allow_unknown=False))


@pytest.mark.parametrize("endpoint", RICH)
@pytest.mark.parametrize("allow_unknown", [False, True])
def test_no_mutation_of_a_good_body_raises_anything_but_an_api_error(endpoint: Endpoint, allow_unknown: bool) -> None:
    chance = random.Random(20_260_727)
    accepted = 0
    messages: set[str] = set()
    for _ in range(3_000):
        raw = orjson.dumps(_mutated(RICH[endpoint], chance))
        try:
            request = DIALECTS[endpoint].parse(raw, caps=Caps(), allow_unknown=allow_unknown)
        except ApiError as error:
            messages.add(error.message)
            continue
        accepted += 1
        assert not request.body.keys() & {"priority", "model", "metadata"}
        assert orjson.dumps(request.body)
        assert orjson.loads(b"{%b}" % request.echo) is not None
        if endpoint == "messages":
            assert _chat_accepts(request.body), "what is translated is as good as what is sent"
    assert len(messages) > 60
    assert 300 < accepted < 2_700


def test_bytes_flipped_at_random_raise_nothing_but_api_errors() -> None:
    chance = random.Random(7)
    good = orjson.dumps(RICH["chat"])
    refused = 0
    for _ in range(2_000):
        raw = bytearray(good)
        for _ in range(chance.randint(1, 3)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        try:
            DIALECTS["chat"].parse(bytes(raw), caps=Caps(), allow_unknown=False)
        except ApiError:
            refused += 1
    assert refused > 1_000
