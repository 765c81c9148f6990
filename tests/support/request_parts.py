"""Chat bodies, and what the engine gets of them."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.handoffs import InferenceRequest

USER: dict[str, Any] = {"role": "user", "content": "Hi"}
CALL: dict[str, Any] = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":null}'}}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
HOSTILE = {"url": "http://10.0.0.1/"}


def chat(*, allow_unknown: bool = False, **fields: Any) -> InferenceRequest:
    body = {"model": "m", "messages": [USER], **fields}
    return DIALECTS["chat"].parse(orjson.dumps(body), caps=Caps(), allow_unknown=allow_unknown)


def said(message: dict[str, Any], **options: Any) -> dict[str, Any]:
    """What the engine gets of one message."""
    sent: dict[str, Any] = chat(messages=[USER, message], **options).body["messages"][1]
    return sent
