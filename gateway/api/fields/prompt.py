"""What a model reads, as one text, many texts, one list of token ids, or many: the prompt of `/v1/completions`, the
input of `/v1/embeddings`.
"""

from __future__ import annotations

from typing import Any

from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import Cap, Check, all_token_ids, bad_items, invalid, too_many, wrong_type
from gateway.api.fields.faults import each

_EXPECTED = "a non-empty string, a list of strings, a list of token ids, or a list of such lists"


def prompts(most: Cap, what: str) -> Check:
    """In any of OpenAI's four forms, nowhere empty, at most so many; `what` is the word for one of them."""

    def check(value: Any, param: str, caps: Caps) -> Any:
        if type(value) is not str and type(value) is not list:
            raise wrong_type(param, _EXPECTED, value)
        if not value:
            raise invalid(param, _EXPECTED, value)
        return value if type(value) is str else _many(list(value), param, most(caps), what)

    return check


def _many(value: list[Any], param: str, most: int, what: str) -> list[Any]:
    kind: type = type(value[0])
    if kind is int or kind is float:
        return all_token_ids(value, param)
    if len(value) > most:
        raise too_many(param, f"{what}s", len(value), most)
    if kind is not str and kind is not list:
        raise wrong_type(f"{param}[0]", "a string, a token id or a list of token ids", value[0])
    if bad := [(index, item) for index, item in enumerate(value) if type(item) is not kind]:
        raise bad_items(param, f"of the same kind as the first {what}", bad, "invalid_type")
    if bad := [(index, item) for index, item in enumerate(value) if not item]:
        raise bad_items(param, "non-empty", bad, "invalid_value")
    return each(value, param, all_token_ids) if kind is list else value


def count_of(value: Any) -> int:
    """How many there are in a checked value."""
    return len(value) if type(value) is list and type(value[0]) is not int else 1
