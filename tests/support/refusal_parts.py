"""Bodies that are good, and the refusals of those that are not."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.errors import ApiError
from gateway.handoffs import Endpoint
from tests.support.request_parts import USER

GOOD: dict[Endpoint, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [USER]},
    "completions": {"model": "m", "prompt": "x"},
}


def refusal(endpoint: Endpoint, raw: bytes, *, allow_unknown: bool = False) -> ApiError:
    with pytest.raises(ApiError) as caught:
        DIALECTS[endpoint].parse(raw, caps=Caps(), allow_unknown=allow_unknown)
    return caught.value


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


MISSING, TYPE, VALUE = "missing_required_parameter", "invalid_type", "invalid_value"
UNKNOWN, UNSUPPORTED_VALUE, RESERVED = "unknown_parameter", "unsupported_value", "reserved_parameter"
UNSUPPORTED = "unsupported_parameter"


def said(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages)}


def part(**fields: Any) -> dict[str, Any]:
    return said(USER, {"role": "user", "content": [fields]})
