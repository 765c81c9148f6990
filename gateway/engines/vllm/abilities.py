"""What a vLLM (0.31 to 0.33) cannot do because of how it was started. It is asked what it refuses in either case before
it works on it, so nothing is generated.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import httpx

from gateway.engines.faults import Unreachable
from gateway.engines.vllm.paths import path_of
from gateway.handoffs import Ability, Endpoint

NO_TOOL_PARSER, NO_REASONING_PARSER = "--tool-call-parser", "--reasoning-parser"
"""What stands in its refusals of what needs one."""
_NO_TOKEN_OF_ANY_MODEL = 2**31 - 1
_TOOLS: Mapping[str, Any] = {
    "messages": [{"role": "user", "content": "x"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "tool_choice": "auto",
    "max_tokens": 0,  # with a parser this is what it refuses
}
_THOUGHTS: Mapping[str, Any] = {
    "prompt": [_NO_TOKEN_OF_ANY_MODEL],  # with a parser this is what it refuses
    "thinking_token_budget": 1,
    "max_tokens": 1,
}


async def lacks(http: httpx.AsyncClient, model: str, missing: Set[Endpoint]) -> frozenset[Ability]:
    """Of tools and reasoning what it was not started for, or has no endpoint for. Raises `Unreachable`."""
    questions: tuple[tuple[Ability, Endpoint, Mapping[str, Any], str], ...] = (
        ("tool_calls", "chat", _TOOLS, NO_TOOL_PARSER),
        ("reasoning", "completions", _THOUGHTS, NO_REASONING_PARSER),
    )
    found = set()
    for ability, endpoint, question, refusal in questions:
        if endpoint in missing or refusal in await _answer(http, endpoint, {"model": model, **question}):
            found.add(ability)
    return frozenset(found)


async def _answer(http: httpx.AsyncClient, endpoint: Endpoint, body: Mapping[str, Any]) -> str:
    try:
        return (await http.post(path_of(endpoint), json=body)).text
    except httpx.HTTPError as error:
        raise Unreachable(f"a question about parsers broke off: {str(error) or type(error).__name__}") from error
