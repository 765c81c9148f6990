"""What pydantic finds wrong with a request of the operator's, in our words: every mistake at once, each with the field,
its value and what was expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic.fields import FieldInfo

from gateway.api.fields.checks import shown
from gateway.api.fields.faults import Faults
from gateway.errors import BadRequest

CODE = "invalid_request"
NOTHING: Mapping[str, FieldInfo] = {}
WHERE = {"query": " in the query", "path": " in the address", "header": " in the head"}
EXPECTED: Mapping[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of at most 19 digits",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_attributes_type": "an object",
    "model_type": "an object",
    "string_too_short": "{min_length} characters or more",
    "string_too_long": "{max_length} characters or fewer",
    "too_short": "{min_length} items or more",
    "too_long": "{max_length} items or fewer",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "literal_error": "{expected}",
}
"""By pydantic's type of an error; what is not here is said in pydantic's words."""


def refusal_of(request: Request, error: RequestValidationError) -> BadRequest:
    """One refusal for all of the mistakes."""
    fields = _fields(request)
    faults = Faults()
    try:
        for found in error.errors():
            faults.add(_fault(found, fields))
        faults.settle()
    except BadRequest as refusal:
        return refusal
    return BadRequest("The request cannot be understood.", code=CODE)


def _fields(request: Request) -> Mapping[str, FieldInfo]:
    """What the body of this address has."""
    body = getattr(request.scope.get("route"), "body_field", None)
    shape = None if body is None else body.field_info.annotation
    return getattr(shape, "model_fields", NOTHING)


def _fault(found: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> BadRequest:
    place, *path = found["loc"]
    param = "".join(f"[{part}]" if type(part) is int else f".{part}" for part in path).lstrip(".")[:200]
    if not param:
        takes = f"; send a JSON object with {', '.join(fields)}" if fields else ""
        said = "is missing" if found["type"] == "missing" else f"is {shown(found['input'])}, and no object"
        return BadRequest(f"The body {said}{takes}.", code=CODE)
    if found["type"] == "missing":
        about = fields[param].description if param in fields else None
        return BadRequest(f"{param} is missing; give it. {about or ''}".rstrip(), param=param, code=CODE)
    if found["type"] == "extra_forbidden":
        return BadRequest(f"{param} is no field of this order; {_remedy(param, fields)}", param=param, code=CODE)
    if found["type"] == "value_error":
        return BadRequest(f"{found['ctx']['error']}.", param=param, code=CODE)
    where = WHERE.get(place, "")
    return BadRequest(f"{param}{where} is {value_of(found)}; expected {expected_of(found)}.", param=param, code=CODE)


def _remedy(unknown: str, fields: Mapping[str, FieldInfo]) -> str:
    nearest = get_close_matches(unknown[:80], fields, n=1, cutoff=0.6)
    return f"did you mean {nearest[0]}?" if nearest else f"it takes {', '.join(fields)}."


def value_of(found: Mapping[str, Any]) -> str:
    """The value at fault, as an error shows it."""
    value = shown(found["input"])
    return f"{value} ({len(found['input'])} characters)" if found["type"] == "string_too_long" else value


def expected_of(found: Mapping[str, Any]) -> str:
    """What should have been there instead."""
    said = EXPECTED.get(found["type"])
    if said is not None:
        return said.format_map(found.get("ctx", {}))
    if found["type"] == "string_pattern_mismatch":
        pattern = found["ctx"]["pattern"]
        return "'*'" if pattern == r"^\*$" else "text without control characters" if "\\x" in pattern else pattern
    return str(found["msg"])
