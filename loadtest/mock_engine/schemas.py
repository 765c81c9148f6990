"""JSON schemas that xgrammar cannot make a grammar of: of all that it refuses, types that there are not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from loadtest.mock_engine.wire import EngineError

TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")


def refuse_schemas(body: dict[str, Any]) -> None:
    """Raises EngineError as vLLM does, which says what is wrong and not where."""
    for schema in _compiled(body):
        for kind in _types(schema):
            if kind not in TYPES:
                raise EngineError(
                    400,
                    "BadRequestError",
                    "Failed to transform json schema into a grammar: [12:00:00] "
                    f'/project/cpp/json_schema_converter.cc:4944: Unsupported type "{kind}"\n',
                )


def _compiled(body: dict[str, Any]) -> Iterator[Any]:
    yield ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    given = (body.get("structured_outputs") or {}).get("json")
    yield orjson.loads(given) if isinstance(given, str) else given
    if body.get("tool_choice") == "required":
        for tool in body.get("tools") or ():
            yield tool["function"].get("parameters")


def _types(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _types(item)
    elif isinstance(node, dict):
        if isinstance(node.get("type"), str):
            yield node["type"]
        for key, item in node.items():
            if key not in ("type", "enum", "const", "default", "examples"):
                yield from _types(item)
