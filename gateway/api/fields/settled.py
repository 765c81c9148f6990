"""What fields come to together that vLLM would refuse in that form, and that a client rightly sends."""

from __future__ import annotations

from typing import Any

_GREEDY = 1e-5
"""Below this temperature vLLM (0.32) always takes the likeliest token."""


def settle(body: dict[str, Any]) -> None:
    """Change a checked body in place, so that the engine takes it for what its client means."""
    temperature = body.get("temperature", 1)
    if body.get("top_p") == 0:  # leaves no token but the likeliest
        temperature = body["temperature"] = 0
        del body["top_p"]
    if temperature < _GREEDY and body.get("n", 1) > 1:
        _greedily_several(body)
    if "tools" in body and not body["tools"]:
        del body["tools"]
    if "tools" not in body:
        body.pop("tool_choice", None)
        body.pop("parallel_tool_calls", None)
    if body.get("continue_final_message"):
        body["add_generation_prompt"] = False
    if "stream_options" in body and not body.get("stream"):
        del body["stream_options"]
    if "max_completion_tokens" in body:  # if there are two, they are equal
        body.pop("max_tokens", None)
        if "prompt" in body:  # completions know the older name alone
            body["max_tokens"] = body.pop("max_completion_tokens")


def _greedily_several(body: dict[str, Any]) -> None:
    """vLLM refuses several answers at temperature 0; at any other they are the same with one token to choose from."""
    for name in ("top_p", "min_p"):
        body.pop(name, None)
    body["temperature"] = 1
    body["top_k"] = 1
