"""Where a JSON schema is wrong that an engine has refused: engines say what is wrong at most, and not where.

It is looked at only then, because engines differ in what they take, and nothing that one takes is refused here. What is
called wrong is what xgrammar 0.2.8 calls so. Everybody else's requests wait meanwhile: so no more than `MOST_BYTES` of
schemas are looked at, and patterns are read and not compiled, which takes 10 ms for one class: (?i:[ -鿿]).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from re import _parser  # type: ignore[attr-defined]  # there is no other way to read a pattern without compiling it
from typing import Any

import orjson

from gateway.api.fields.checks import shown
from gateway.api.fields.compiled import compiled_schemas
from gateway.api.fields.faults import Faults
from gateway.errors import BadRequest

MOST_BYTES = 16_384
"""Of all schemas together: about 50 ms at worst."""
_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
_ONE = ("items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "additionalItems")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs", "definitions")
_SIZES = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_PAIRS = (*zip(_SIZES[::2], _SIZES[1::2], strict=True), ("minimum", "maximum"))


def schema_fault(body: Mapping[str, Any]) -> BadRequest | None:
    """All that is wrong with these schemas, each with its path; `None` when nothing is found, or they are too long."""
    faults = Faults()
    room = MOST_BYTES
    try:
        for path, schema in compiled_schemas(body):
            room -= len(orjson.dumps(schema))
            if room < 0:
                break
            for param, expected, value in _faults(schema, path, schema):
                faults.add(_fault(param, expected, value))
        faults.settle()
    except BadRequest as fault:
        return fault
    return None


def _fault(param: str, expected: str, value: Any) -> BadRequest:
    param = param[:256]
    return BadRequest(
        f"'{param}' is {shown(value)}; in a JSON schema it must be {expected}.", param=param, code="invalid_json_schema"
    )


Found = Iterator[tuple[str, str, Any]]
"""Paths, what must be there, and what is."""


def _faults(node: Any, path: str, root: Any) -> Found:
    if node is True or node is False:
        return
    if type(node) is not dict:
        yield path, "a schema, which is an object, true or false", node
        return
    yield from _own(node, path, root)
    for key in _ONE:
        if key in node:
            yield from _faults(node[key], f"{path}.{key}", root)
    for key in _LISTS:
        below = node.get(key, [])
        if type(below) is not list:
            yield f"{path}.{key}", "a list of schemas", below
            continue
        for index, one in enumerate(below):
            yield from _faults(one, f"{path}.{key}[{index}]", root)
    for key in _NAMED:
        below = node.get(key, {})
        if type(below) is not dict:
            yield f"{path}.{key}", "an object of schemas", below
            continue
        for name, one in below.items():
            if one is False and key == "properties":
                yield f"{path}.{key}.{name}", "a schema that something can meet", one
            yield from _faults(one, f"{path}.{key}.{name}", root)


def _own(node: dict[str, Any], path: str, root: Any) -> Found:
    """Of a schema less those that lie in it."""
    if "type" in node:
        yield from _type(node["type"], f"{path}.type")
    if "enum" in node and not (type(node["enum"]) is list and node["enum"]):
        yield f"{path}.enum", "a list of at least one value", node["enum"]
    required = node.get("required", [])
    if type(required) is not list or any(type(name) is not str for name in required):
        yield f"{path}.required", "a list of names", required
    for key in (*_SIZES, *_NUMBERS):
        value = node.get(key, 0)
        whole = key in _SIZES
        if type(value) not in ((int,) if whole else (int, float)) or (whole and value < 0):
            yield f"{path}.{key}", "a whole number, 0 or more" if whole else "a number", value
    for least, most in _PAIRS:
        low, high = node.get(least), node.get(most)
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            yield f"{path}.{least}", f"no more than {most}, {high}", low
    for key in ("pattern", "format", "$ref"):
        if type(node.get(key, "")) is not str:
            yield f"{path}.{key}", "text", node[key]
    yield from _patterns(node, path)
    target = node.get("$ref")
    if type(target) is str and target.startswith("#") and not _is_there(target, root):
        yield f"{path}.$ref", "a place that is in the schema", target


def _type(value: Any, path: str) -> Found:
    expected = f"one of {', '.join(_TYPES)}"
    if type(value) is not list:
        if value not in _TYPES:
            yield path, expected, value
        return
    for index, one in enumerate(value):
        if one not in _TYPES:
            yield f"{path}[{index}]", expected, one


def _patterns(node: dict[str, Any], path: str) -> Found:
    keys = node.get("patternProperties")
    named = [(f"{path}.patternProperties", key) for key in keys] if type(keys) is dict else []
    if type(node.get("pattern")) is str:
        named.append((f"{path}.pattern", node["pattern"]))
    for param, pattern in named:
        try:
            _parser.parse(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            yield param, f"a regular expression ({error})", pattern


def _is_there(target: str, root: Any) -> bool:
    place = root
    for part in target.removeprefix("#").removeprefix("/").split("/") if target not in ("#", "#/") else ():
        part = part.replace("~1", "/").replace("~0", "~")
        if type(place) is list and part.isdecimal() and len(part) < 10 and int(part) < len(place):
            place = place[int(part)]
        elif type(place) is dict and part in place:
            place = place[part]
        else:
            return False
    return True
