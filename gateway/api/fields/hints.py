"""What a checked body says to the gateway alone, in the fields that all dialects of OpenAI's have for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def conversation_of(given: Mapping[str, Any]) -> str | None:
    """What the client calls the conversation."""
    return (given.get("metadata") or {}).get("conversation_id")


def user_of(given: Mapping[str, Any]) -> str | None:
    """What the client calls its own user."""
    return given.get("safety_identifier") or given.get("user")


def shows_cost(given: Mapping[str, Any]) -> bool:
    """Whether the client asked for the cost of its answer."""
    return bool((given.get("usage") or {}).get("include"))


def is_batch(given: Mapping[str, Any]) -> bool:
    """Whether nobody waits for the answer to a checked body."""
    return given.get("service_tier") == "flex" or bool(given.get("background"))
