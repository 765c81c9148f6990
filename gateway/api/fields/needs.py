"""What a request needs of an engine that not every engine has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.handoffs import Ability

_NOTHING: frozenset[Ability] = frozenset()


def needs_of(body: Mapping[str, Any]) -> frozenset[Ability]:
    """Of a checked body."""
    calls = "tools" in body and body.get("tool_choice") != "none"
    scores = scored_alternatives(body) is not None
    reasons = "thinking_token_budget" in body
    if not calls and not scores and not reasons:
        return _NOTHING
    needed: dict[Ability, bool] = {"tool_calls": calls, "reasoning": reasons, "prompt_logprobs": scores}
    return frozenset(ability for ability, is_needed in needed.items() if is_needed)


def scored_alternatives(given: Mapping[str, Any]) -> int | None:
    """Alternatives at each token of the prompt that vLLM (0.32) computes; None when it computes none. It scores the
    prompt of a chat with `echo` in any case.
    """
    asked = given.get("prompt_logprobs")
    if asked is None and given.get("echo"):
        asked = given.get("top_logprobs") or 0 if "messages" in given else given.get("logprobs")
    return asked if type(asked) is int else None
