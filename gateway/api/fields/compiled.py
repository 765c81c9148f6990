"""Which JSON schemas of a body an engine makes grammars of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson


def compiled_tools(body: Mapping[str, Any]) -> Iterator[tuple[int, Any]]:
    """Places of tools, and the schemas of their arguments, that vLLM (0.32) compiles: of those that must be called, and
    of strict ones.
    """
    choice = body.get("tool_choice")
    for index, tool in enumerate(() if choice == "none" else body.get("tools") or ()):
        function = tool["function"]
        named = type(choice) is dict and choice["function"]["name"] == function["name"]
        if named or choice == "required" or (type(choice) is not dict and function.get("strict")):
            yield index, function.get("parameters") or {}


def compiled_schemas(body: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """All schemas of a checked body that are compiled, each behind its path."""
    output = body.get("response_format") or {}
    if output.get("type") == "json_schema":
        yield "response_format.json_schema.schema", output["json_schema"]["schema"]
    given = (body.get("structured_outputs") or {}).get("json")
    if given is not None:
        yield "structured_outputs.json", orjson.loads(given) if type(given) is str else given
    for index, parameters in compiled_tools(body):
        yield f"tools[{index}].function.parameters", parameters
