"""Good bodies of every dialect that generates, rich in what they may have, and what becomes of them at random."""

from __future__ import annotations

import random
from typing import Any

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
RICH["input_tokens"] = {
    name: RICH["responses"][name]
    for name in ("model", "input", "instructions", "tools", "tool_choice", "text", "reasoning", "conversation")
}
RICH["count_tokens"] = {
    name: RICH["messages"][name] for name in ("model", "system", "messages", "tools", "tool_choice", "thinking")
}
STRANGE: list[Any] = [
    None, True, False, 0, 1, -1, 2, 2**31, 2**63, 2**64 - 1, -(2**63), 0.0, 1.5, 1e308, "", "a", "text", "function",
    "\x00", "é" * 99, [], [[]], [None], [1], ["a"], {}, {"a": None}, {"type": "text"}, {"type": "function"}, [{}], DEEP,
]  # fmt: skip


def mutated(value: Any, chance: random.Random) -> Any:
    """A copy of `value` with a few of its nodes replaced, dropped, doubled or renamed."""
    if chance.random() < 0.01:
        return chance.choice(STRANGE)
    if type(value) is dict:
        kept = {key: mutated(item, chance) for key, item in value.items() if chance.random() > 0.01}
        if chance.random() < 0.02:
            kept[chance.choice(["priority", "uuid", "type", "json", "regex", "zzz"])] = chance.choice(STRANGE)
        return kept
    if type(value) is list:
        items = [mutated(item, chance) for item in value if chance.random() > 0.01]
        return items * 2 if chance.random() < 0.01 else items
    return value
