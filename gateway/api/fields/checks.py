"""The building blocks of the table: each makes a check of one kind of value.

A check takes `(value, param, caps)`, where `value` is parsed JSON other than null and `param` is the path that an error
names (`messages[3].content`). It returns what is forwarded to the engine, or raises `BadRequest`.
JSON's `true` is never 1. An integer may be written 1.0, as some libraries do and vLLM takes it; the engine gets 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import orjson

from gateway.api.fields.caps import Caps
from gateway.api.fields.faults import MOST_NAMED, Faults, each
from gateway.api.fields.replayed import ANYWHERE, is_misspelt
from gateway.errors import BadRequest

Check = Callable[[Any, str, Caps], Any]
Cap = Callable[[Caps], int]

MAX_TOKEN_ID = 2**31 - 1
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
Unknown = Literal["refused", "pass", "dropped", "dropped unless misspelt"]
"""What becomes of an entry that nobody knows."""
_KINDS = {dict: "an object", list: "a list", bool: "a boolean", type(None): "null"}


def shown(value: Any) -> str:
    """A value as an error message shows it: short, whatever the client sent."""
    if value is True or value is False:
        return "true" if value else "false"
    if type(value) is str:
        return f"'{value[:40]}{'…' if len(value) > 40 else ''}'"
    if value in ([], {}):
        return "an empty list" if type(value) is list else "an empty object"
    return _KINDS.get(type(value)) or repr(value)[:40]


def missing(param: str) -> BadRequest:
    """What must be given."""
    return BadRequest(f"'{param}' is required.", param=param, code="missing_required_parameter")


def invalid(param: str, expected: str, *values: Any) -> BadRequest:
    """The right kind of value, out of its range: `'n' must be …, not 99.`"""
    return BadRequest(f"'{param}' must be {expected}, not {all_shown(values)}.", param=param, code="invalid_value")


def wrong_type(param: str, expected: str, *values: Any) -> BadRequest:
    """The wrong kind of value."""
    return BadRequest(f"'{param}' must be {expected}, not {all_shown(values)}.", param=param, code="invalid_type")


def all_shown(values: Sequence[Any]) -> str:
    """Every value that one mistake was made with, up to `MOST_NAMED`."""
    more = f" and {len(values) - MOST_NAMED} more" if len(values) > MOST_NAMED else ""
    return ", ".join(map(shown, values[:MOST_NAMED])) + more


def bad_items(param: str, expected: str, bad: Sequence[tuple[int, Any]], code: str) -> BadRequest:
    """Items of a list, given with their places, that are not what they must be."""
    paths = ", ".join(f"'{param}[{index}]'" for index, _ in bad[:MOST_NAMED])
    found = all_shown([item for _, item in bad])
    return BadRequest(f"{paths} must be {expected}, not {found}.", param=f"{param}[{bad[0][0]}]", code=code)


def too_many(param: str, what: str, found: int, most: int) -> BadRequest:
    """More items, characters or bytes than the gateway takes."""
    return BadRequest(f"'{param}' has {found} {what}; the most is {most}.", param=param, code="invalid_value")


def unknown_keys(paths: Sequence[str], remedy: str = "Remove it.") -> BadRequest:
    """Keys that no documented field has, all in one refusal; `remedy` is for one alone."""
    shown_paths = " and ".join(f"'{path}'" for path in paths[:MOST_NAMED])
    if len(paths) == 1:
        message = f"{shown_paths} is not a known field. {remedy}"
    else:
        more = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
        message = f"{shown_paths}{more} are not known fields. Remove them."
    return BadRequest(message, param=paths[0], code="unknown_parameter")


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
    """An integer from `low` to `high`, ends included; 100.0 is one too."""

    def check(value: Any, param: str, caps: Caps) -> Any:
        top = high if isinstance(high, int) else high(caps)
        if type(value) is float and value.is_integer():
            value = int(value)
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


def keyed(
    value: Any,
    param: str,
    known: frozenset[str],
    *,
    dropped: frozenset[str] = ANYWHERE,
    unknown: Unknown = "refused",
    never: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """The value, which must be an object, less its null entries and those in `dropped`.

    `unknown` says what becomes of entries outside `known`; those in `never` are refused whatever it says.
    """
    if type(value) is not dict:
        raise wrong_type(param, "an object", value)
    kept = {key: item for key, item in value.items() if item is not None and (key in known or key not in dropped)}
    if kept.keys() <= known:
        return kept
    others = [key for key in kept if key not in known]
    if unknown == "dropped unless misspelt":
        refused = [key for key in others if key in never or is_misspelt(key, known)]
    else:
        refused = [key for key in others if unknown == "refused" or key in never]
    if refused:
        raise unknown_keys([f"{param}.{key[:64]}" for key in refused])
    return kept if unknown == "pass" else {key: item for key, item in kept.items() if key in known}


def options(
    value: Any, param: str, known: frozenset[str], caps: Caps, never: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The entries of an object that is not free-form.

    Where unknown ones pass, the engine does not get them: it may know them, and what they cost is not counted.
    """
    return keyed(value, param, known, unknown="dropped" if caps.passes_unknown else "refused", never=never)


def texts(most: Cap, *, or_one: bool = False) -> Check:
    """A list of non-empty strings; with `or_one`, a single string does as well."""

    def check(value: Any, param: str, caps: Caps) -> Any:
        if or_one and type(value) is str:
            return _phrase(value, param, caps)
        items = listed(value, param, "strings", most(caps))
        if bad := [(index, item) for index, item in enumerate(items) if item is not None and type(item) is not str]:
            raise bad_items(param, "strings" if len(bad) > 1 else "a string", bad, "invalid_type")
        if bad := [(index, item) for index, item in enumerate(items) if item == ""]:
            raise bad_items(param, "non-empty", bad, "invalid_value")
        return each(items, param, lambda item, path: _phrase(item, path, caps))

    return check


def _phrase(value: str, param: str, caps: Caps) -> str:
    if not value:
        raise invalid(param, "a non-empty string", value)
    if len(value) > caps.max_stop_chars:
        raise too_many(param, "characters", len(value), caps.max_stop_chars)
    return value


def token_ids(most: Cap, *, least: int = 0) -> Check:
    """A list of token ids, integers from 0 to 2³¹ − 1."""

    def check(value: Any, param: str, caps: Caps) -> Any:
        ids = listed(value, param, "token ids", most(caps))
        if any(item is not None for item in ids) < least:
            raise invalid(param, "a non-empty list of token ids", value)
        return all_token_ids(ids, param, nulls=True)

    return check


def all_token_ids(ids: list[Any], param: str, *, nulls: bool = False) -> list[int]:
    """The list, if it holds nothing but token ids. No loop in Python: prompts come as 100,000 of them.

    With `nulls`, it may hold null, which is absent.
    """
    if nulls and None in ids:
        whole, ids = ids, [item for item in ids if item is not None]
    else:
        whole = ids
    if float in (kinds := set(map(type, ids))):
        ids = [int(item) if type(item) is float and item.is_integer() else item for item in ids]
        kinds = set(map(type, ids))
    if ids and (kinds != {int} or min(ids) < 0 or max(ids) > MAX_TOKEN_ID):
        bad = [(i, item) for i, item in enumerate(whole) if not _is_id(item) and not (nulls and item is None)]
        raise bad_items(param, f"a token id from 0 to {MAX_TOKEN_ID}", bad, "invalid_value")
    return ids


def _is_id(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= MAX_TOKEN_ID and value == int(value)


def shallow(value: Any, param: str, caps: Caps) -> Any:
    """Free-form JSON that can be written again (orjson reads 1,024 levels and writes 254), and is not long to walk.

    It is walked layer by layer, so that nothing recurses, and no further than it may go.
    """
    values, layer = 0, [value]
    for _ in range(caps.max_depth + 1):
        layer = [item for item in layer if type(item) is dict or type(item) is list]
        if not layer:
            return value
        values += sum(map(len, layer))
        if values > caps.max_free_values:
            raise too_many(param, "values in it", values, caps.max_free_values)
        layer = [inner for outer in layer for inner in (outer.values() if type(outer) is dict else outer)]
    raise BadRequest(
        f"'{param}' nests more than {caps.max_depth} objects or lists. Flatten it.", param=param, code="invalid_value"
    )


def schema(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    """A JSON schema: an object, capped in depth and bytes. What it costs to compile is `grammar_cost`'s."""
    if type(value) is not dict:
        raise wrong_type(param, "a JSON schema (an object)", value)
    size = len(orjson.dumps(shallow(value, param, caps)))
    if size > caps.max_schema_bytes:
        raise too_many(param, "bytes", size, caps.max_schema_bytes)
    return value


MOST_OF_A_NAME = 256
"""Characters. Engines take names of any length; servers of tools join theirs with dots and slashes."""


def name(value: Any, param: str, caps: Caps) -> str:
    """The name of a function or of a schema. OpenAI's rule of 64 letters protects no engine: one line is enough."""
    if type(value) is str and 0 < len(value) <= MOST_OF_A_NAME and value.isprintable():
        return value
    raise invalid(param, f"1 to {MOST_OF_A_NAME} printable characters", value)


def pairs(value: Any, param: str, caps: Caps) -> dict[str, str]:
    """OpenAI's metadata: at most 16 strings of at most 512 characters, under keys of at most 64."""
    if type(value) is not dict:
        raise wrong_type(param, "an object of strings", value)
    if len(value) > 16:
        raise too_many(param, "pairs", len(value), 16)
    for key, item in value.items():
        if item is None:
            continue
        if len(key) > 64:
            raise invalid(param, "an object whose keys have at most 64 characters", key)
        if type(item) is not str:
            raise wrong_type(f"{param}.{key}", "a string", item)
        if len(item) > 512:
            raise too_many(f"{param}.{key}", "characters", len(item), 512)
    return value


def logit_bias(value: Any, param: str, caps: Caps) -> dict[str, float]:
    """Token ids, written as strings, to a bias from −100 to 100. All that is wrong is named at once."""
    if type(value) is not dict:
        raise wrong_type(param, "an object from token ids to numbers", value)
    if len(value) > caps.max_logit_bias:
        raise too_many(param, "tokens", len(value), caps.max_logit_bias)
    given = {key: bias for key, bias in value.items() if bias is not None}
    faults = Faults()
    if bad := [key for key in given if not _is_token_id(key)]:
        faults.add(invalid(param, f"an object whose keys are token ids from 0 to {MAX_TOKEN_ID}", *bad))
    if bad := [key for key, bias in given.items() if type(bias) not in (int, float)]:
        faults.add(_bad_biases(given, bad, param, "invalid_type"))
    if bad := [key for key, bias in given.items() if type(bias) in (int, float) and not -100 <= bias <= 100]:
        faults.add(_bad_biases(given, bad, param, "invalid_value"))
    faults.settle()
    return given


def _bad_biases(given: dict[str, Any], bad: list[str], param: str, code: str) -> BadRequest:
    found = ", ".join(f"{shown(given[key])} for {shown(key)}" for key in bad[:MOST_NAMED])
    more = f" and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
    message = f"'{param}' must be an object from token ids to numbers from -100 to 100, not {found}{more}."
    return BadRequest(message, param=f"{param}.{bad[0][:64]}", code=code)


def _is_token_id(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) <= 10 and int(key) <= MAX_TOKEN_ID
