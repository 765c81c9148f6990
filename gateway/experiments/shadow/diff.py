"""What tells two answers apart. Pure, and linear in their lengths."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson

from registry.shadows.pairs import AnswerText, Diff

WORD = re.compile(r"\w+")
MOST_DEPTH = 32
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def diff(control: AnswerText, candidate: AnswerText, tokens: tuple[int | None, int | None]) -> Diff:
    """Of two answers and their tokens, control's first."""
    mine, other = _words(control), _words(candidate)
    had, has = tokens
    return Diff(
        exact=control == candidate,
        same_words=mine == other,
        similarity=round(word_f1(mine, other), 4),
        length_ratio=round(has / had, 4) if had and has is not None else None,
    )


def word_f1(mine: list[str], other: list[str]) -> float:
    """F1 of two bags of words (Rajpurkar et al. 2016, SQuAD, arXiv:1606.05250 §6.1); 1 for two empty ones."""
    if not mine and not other:
        return 1.0
    return 2 * sum((Counter(mine) & Counter(other)).values()) / (len(mine) + len(other))


def _words(said: AnswerText) -> list[str]:
    return [word for text in (said.text, *said.calls) for word in WORD.findall(text.casefold())]


_NOT_JSON = object()


def is_json(said: AnswerText) -> bool | None:
    """Whether its text is a JSON document; `None` without a text."""
    if not said.text:
        return None
    return _parsed(said.text) is not _NOT_JSON


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return _NOT_JSON


def fits_format(said: AnswerText, asked: Any) -> bool | None:
    """Whether a text is what the body's `response_format` asks for: JSON; and of a schema its types, required fields
    and enums. `None` where it asks for nothing. Patterns of schemas are not run: some never end.
    """
    kind = asked.get("type") if isinstance(asked, Mapping) else None
    if kind not in ("json_object", "json_schema"):
        return None
    value = _parsed(said.text)
    if value is _NOT_JSON:
        return False
    if kind == "json_object":
        return isinstance(value, dict)
    schema = (asked.get("json_schema") or {}).get("schema")
    return has_shape(value, schema) if isinstance(schema, Mapping) else True


def has_shape(value: Any, schema: Any, depth: int = 0) -> bool:
    """Whether a value has the types, required fields and enums of a JSON schema; what else that says is passed over."""
    if not isinstance(schema, Mapping) or depth > MOST_DEPTH:
        return True
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "type" in schema and not _is_of(value, schema["type"]):
        return False
    if isinstance(value, dict):
        fields = schema.get("properties")
        fields = fields if isinstance(fields, Mapping) else {}
        if any(name not in value for name in schema.get("required") or ()):
            return False
        if schema.get("additionalProperties") is False and not value.keys() <= fields.keys():
            return False
        return all(has_shape(value[name], one, depth + 1) for name, one in fields.items() if name in value)
    if isinstance(value, list):
        return all(has_shape(one, schema.get("items"), depth + 1) for one in value)
    return True


def _is_of(value: Any, types: Any) -> bool:
    names = [types] if isinstance(types, str) else types
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _TYPES.get(name, (object,))) for name in names)
