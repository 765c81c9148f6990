"""The prompt of `/v1/completions`: one text, many texts, one list of token ids, or many."""

from __future__ import annotations

from typing import Any

from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import all_token_ids, invalid, too_many, wrong_type

_EXPECTED = "a non-empty string, a list of strings, a list of token ids, or a list of such lists"


def prompt(value: Any, param: str, caps: Caps) -> Any:
    """A prompt in any of OpenAI's four forms, nowhere empty."""
    if type(value) is not str and type(value) is not list:
        raise wrong_type(param, _EXPECTED, value)
    if not value:
        raise invalid(param, _EXPECTED, value)
    return value if type(value) is str else _many(list(value), param, caps)


def _many(value: list[Any], param: str, caps: Caps) -> list[Any]:
    kind: type = type(value[0])
    if kind is int:
        return all_token_ids(value, param)
    if len(value) > caps.max_prompts:
        raise too_many(param, "prompts", len(value), caps.max_prompts)
    if kind is not str and kind is not list:
        raise wrong_type(f"{param}[0]", "a string, a token id or a list of token ids", value[0])
    for index, item in enumerate(value):
        if type(item) is not kind:
            raise wrong_type(f"{param}[{index}]", "of the same kind as the first prompt", item)
        if not item:
            raise invalid(f"{param}[{index}]", "non-empty", item)
        if type(item) is list:
            all_token_ids(item, f"{param}[{index}]")
    return value


def count_of(value: Any) -> int:
    """How many prompts a checked `prompt` holds."""
    return len(value) if type(value) is list and type(value[0]) is not int else 1
