"""The building blocks of the table: each makes a check of one kind of value.

A check takes `(value, param, caps)`, where `value` is parsed JSON other than null and `param` is the path that an error
names (`messages[3].content`). It returns what is forwarded to the engine, or raises `BadRequest`.
Types are compared exactly: JSON's `true` is never 1, and 1.0 is not an integer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from gateway.api.fields.caps import Caps
from gateway.errors import BadRequest

Check = Callable[[Any, str, Caps], Any]
Cap = Callable[[Caps], int]

MAX_TOKEN_ID = 2**31 - 1
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
_KINDS = {dict: "an object", list: "a list", bool: "a boolean", type(None): "null"}


def shown(value: Any) -> str:
    """A value as an error message shows it: short, whatever the client sent."""
    if value is True or value is False:
        return "true" if value else "false"
    if type(value) is str:
        return f"'{value[:40]}{'…' if len(value) > 40 else ''}'"
    return _KINDS.get(type(value)) or repr(value)[:40]


def invalid(param: str, expected: str, value: Any) -> BadRequest:
    """The right kind of value, out of its range: `'n' must be …, not 99.`"""
    return BadRequest(f"'{param}' must be {expected}, not {shown(value)}.", param=param, code="invalid_value")


def wrong_type(param: str, expected: str, value: Any) -> BadRequest:
    """The wrong kind of value."""
    return BadRequest(f"'{param}' must be {expected}, not {shown(value)}.", param=param, code="invalid_type")


def too_many(param: str, what: str, found: int, most: int) -> BadRequest:
    """More items, characters or bytes than the gateway takes."""
    return BadRequest(f"'{param}' has {found} {what}; the most is {most}.", param=param, code="invalid_value")


def unknown_key(param: str) -> BadRequest:
    """A key inside an object that no documented field has."""
    return BadRequest(f"'{param}' is not a known field. Remove it.", param=param, code="unknown_parameter")


def flag(value: Any, param: str, caps: Caps) -> bool:
    """True or false."""
    if value is True or value is False:
        return bool(value)
    raise wrong_type(param, "true or false", value)


def number(low: float, high: float, *, above: bool = False) -> Check:
    """A number from `low` to `high`, ends included; with `above`, `low` itself is refused."""
    expected = f"a number {f'above {low}, at most {high}' if above else f'from {low} to {high}'}"

    def check(value: Any, param: str, caps: Caps) -> Any:
        if type(value) is not float and type(value) is not int:
            raise wrong_type(param, expected, value)
        if low <= value <= high and not (above and value == low):
            return value
        raise invalid(param, expected, value)

    return check


def integer(low: int, high: int | Cap) -> Check:
    """An integer from `low` to `high`, ends included."""

    def check(value: Any, param: str, caps: Caps) -> Any:
        top = high if isinstance(high, int) else high(caps)
        if type(value) is not int:
            raise wrong_type(param, f"an integer from {low} to {top}", value)
        if low <= value <= top:
            return value
        raise invalid(param, f"an integer from {low} to {top}", value)

    return check


def text(most_chars: int, *, least_chars: int = 0) -> Check:
    """A string of `least_chars` to `most_chars` characters."""

    def check(value: Any, param: str, caps: Caps) -> Any:
        if type(value) is not str:
            raise wrong_type(param, "a string", value)
        if len(value) > most_chars:
            raise too_many(param, "characters", len(value), most_chars)
        if len(value) < least_chars:
            raise invalid(param, "a non-empty string", value)
        return value

    return check


def one_of(*choices: str) -> Check:
    """One of a few words."""
    expected = "one of " + ", ".join(f"'{choice}'" for choice in choices)

    def check(value: Any, param: str, caps: Caps) -> Any:
        if type(value) is str and value in choices:
            return value
        raise invalid(param, expected, value)

    return check


def listed(value: Any, param: str, what: str, most: int) -> list[Any]:
    """The value, which must be a list of at most `most` items; `what` names them in the plural."""
    if type(value) is not list:
        raise wrong_type(param, f"a list of {what}", value)
    if len(value) > most:
        raise too_many(param, what, len(value), most)
    return value


def keyed(value: Any, param: str, known: frozenset[str]) -> dict[str, Any]:
    """The value, which must be an object with no key outside `known`, less its null entries."""
    if type(value) is not dict:
        raise wrong_type(param, "an object", value)
    for key in value:
        if key not in known:
            raise unknown_key(f"{param}.{key[:64]}")
    return {key: item for key, item in value.items() if item is not None}


def texts(most: Cap, *, or_one: bool = False) -> Check:
    """A list of non-empty strings; with `or_one`, a single string does as well."""

    def check(value: Any, param: str, caps: Caps) -> Any:
        if or_one and type(value) is str:
            return _phrase(value, param, caps)
        for index, item in enumerate(listed(value, param, "strings", most(caps))):
            _phrase(item, f"{param}[{index}]", caps)
        return value

    return check


def _phrase(value: Any, param: str, caps: Caps) -> str:
    if type(value) is not str:
        raise wrong_type(param, "a string", value)
    if not value:
        raise invalid(param, "a non-empty string", value)
    if len(value) > caps.max_stop_chars:
        raise too_many(param, "characters", len(value), caps.max_stop_chars)
    return value


def token_ids(most: Cap, *, least: int = 0) -> Check:
    """A list of token ids, integers from 0 to 2³¹ − 1."""

    def check(value: Any, param: str, caps: Caps) -> Any:
        ids = listed(value, param, "token ids", most(caps))
        if len(ids) < least:
            raise invalid(param, "a non-empty list of token ids", value)
        return all_token_ids(ids, param)

    return check


def all_token_ids(ids: list[Any], param: str) -> list[int]:
    """The list, if it holds nothing but token ids. No loop in Python: prompts come as 100,000 of them."""
    if ids and (set(map(type, ids)) != {int} or min(ids) < 0 or max(ids) > MAX_TOKEN_ID):
        index = next(i for i, item in enumerate(ids) if type(item) is not int or not 0 <= item <= MAX_TOKEN_ID)
        raise invalid(f"{param}[{index}]", f"a token id from 0 to {MAX_TOKEN_ID}", ids[index])
    return ids


def depth_of(value: Any, most: int) -> int:
    """How many objects and arrays are nested in `value`, counted no further than `most` + 1. Does not recurse."""
    depth, layer = 0, [value]
    while depth <= most:
        layer = [item for item in layer if type(item) is dict or type(item) is list]
        if not layer:
            return depth
        depth += 1
        layer = [inner for outer in layer for inner in (outer.values() if type(outer) is dict else outer)]
    return depth


def shallow(value: Any, param: str, caps: Caps) -> Any:
    """Free-form JSON that can be written again: orjson reads 1,024 levels and writes 254."""
    if depth_of(value, caps.max_depth) > caps.max_depth:
        raise BadRequest(
            f"'{param}' nests more than {caps.max_depth} objects or lists. Flatten it.",
            param=param,
            code="invalid_value",
        )
    return value


def schema(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    """A JSON schema: an object, capped in depth and bytes, because the engine compiles it for everyone to wait."""
    if type(value) is not dict:
        raise wrong_type(param, "a JSON schema (an object)", value)
    size = len(orjson.dumps(shallow(value, param, caps)))
    if size > caps.max_schema_bytes:
        raise too_many(param, "bytes", size, caps.max_schema_bytes)
    cost = schema_cost(value)
    if cost > caps.max_schema_cost:
        raise too_many(param, "states of its grammar (repetitions, lengths, properties)", cost, caps.max_schema_cost)
    return value


REPEAT = re.compile(r"\{(\d+)?(?:,(\d+)?)?\}")
LENGTHS = frozenset({"maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties"})


def schema_cost(node: Any) -> int:
    """About how many states the grammar of a JSON schema has: what the engine compiles while everybody waits.

    A property counts 1, a pattern 8 and the sum of its repetitions, a length or number of items its value.
    """
    if type(node) is list:
        return sum(map(schema_cost, node))
    if type(node) is not dict:
        return 0
    cost = 0
    for key, value in node.items():
        if key == "pattern" and type(value) is str:
            cost += 8 + sum(int(number) for found in REPEAT.findall(value) for number in found if number)
        elif key in LENGTHS and type(value) in (int, float):
            cost += int(min(abs(value), 2**31))
        else:
            cost += (len(value) if key == "properties" and type(value) is dict else 0) + schema_cost(value)
    return cost


NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def name(value: Any, param: str, caps: Caps) -> str:
    """The name of a function or of a schema, by OpenAI's rule."""
    if type(value) is str and NAME.fullmatch(value):
        return value
    raise invalid(param, "1 to 64 letters, digits, '_' or '-'", value)


def pairs(value: Any, param: str, caps: Caps) -> dict[str, str]:
    """OpenAI's metadata: at most 16 strings of at most 512 characters, under keys of at most 64."""
    if type(value) is not dict:
        raise wrong_type(param, "an object of strings", value)
    if len(value) > 16:
        raise too_many(param, "pairs", len(value), 16)
    for key, item in value.items():
        if len(key) > 64:
            raise invalid(param, "an object whose keys have at most 64 characters", key)
        if type(item) is not str:
            raise wrong_type(f"{param}.{key}", "a string", item)
        if len(item) > 512:
            raise too_many(f"{param}.{key}", "characters", len(item), 512)
    return value


def logit_bias(value: Any, param: str, caps: Caps) -> dict[str, float]:
    """Token ids, written as strings, to a bias from −100 to 100."""
    if type(value) is not dict:
        raise wrong_type(param, "an object from token ids to numbers", value)
    if len(value) > caps.max_logit_bias:
        raise too_many(param, "tokens", len(value), caps.max_logit_bias)
    for key, bias in value.items():
        if not (key.isascii() and key.isdigit() and len(key) <= 10 and int(key) <= MAX_TOKEN_ID):
            raise invalid(param, f"an object whose keys are token ids from 0 to {MAX_TOKEN_ID}", key)
        _BIAS(bias, f"{param}.{key}", caps)
    return value


_BIAS = number(-100, 100)
