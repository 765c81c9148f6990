"""Tools, and which of them is to be called, as a chat has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.api.fields import replayed
from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import Unknown, flag, keyed, listed, name, one_of, options, schema, shown, text
from gateway.api.fields.faults import each
from gateway.api.fields.together import Given
from gateway.errors import BadRequest

_DESCRIPTION = text(65_536)
_TOOL_KEYS = frozenset({"type", "name", "description", "input_schema", "strict"})
_CHOICE_KEYS = frozenset({"type", "name", "disable_parallel_tool_use"})
_CHOICES = one_of("auto", "any", "tool", "none")


def tools(value: Any, param: str, caps: Caps) -> list[dict[str, Any]]:
    """Tools that the client runs."""
    return each(listed(value, param, "tools", caps.max_tools), param, lambda tool, path: _tool(tool, path, caps))


def _tool(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    if type(value) is dict and (value.get("type") or "custom") != "custom":
        raise BadRequest(
            f"'{param}.type' must be 'custom', not {shown(value['type'])}: tools of Anthropic's are not offered. Offer "
            "one of your own, with 'name', 'description' and 'input_schema', and run it yourself.",
            param=f"{param}.type",
            code="unsupported_value",
        )
    unknown: Unknown = "dropped" if caps.passes_unknown else "refused"
    given = keyed(value, param, _TOOL_KEYS, dropped=replayed.IN_TOOL, unknown=unknown)
    arguments = schema(given.get("input_schema"), f"{param}.input_schema", caps)
    function: dict[str, Any] = {"name": name(given.get("name"), f"{param}.name", caps)}
    if "description" in given:
        function["description"] = _DESCRIPTION(given["description"], f"{param}.description", caps)
    function["parameters"] = arguments if "type" in arguments else {**arguments, "type": "object"}
    if "strict" in given:
        function["strict"] = flag(given["strict"], f"{param}.strict", caps)
    return {"type": "function", "function": function}


def tool_choice(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    """Whether tools are called, and which."""
    given = options(value, param, _CHOICE_KEYS, caps)
    kind = _CHOICES(given.get("type"), f"{param}.type", caps)
    if kind == "tool":
        name(given.get("name"), f"{param}.name", caps)
    if "disable_parallel_tool_use" in given:
        flag(given["disable_parallel_tool_use"], f"{param}.disable_parallel_tool_use", caps)
    return given


def names_a_tool(given: Given, caps: Caps) -> None:
    """The chosen tool is one that is offered."""
    choice = given["tool_choice"]
    offered = [tool["function"]["name"] for tool in given.get("tools") or ()]
    if choice["type"] == "any" and not offered:
        raise BadRequest("'tool_choice' 'any' needs 'tools'.", param="tool_choice", code="invalid_value")
    if choice["type"] == "tool" and choice["name"] not in offered:
        raise BadRequest(
            f"'tool_choice.name' is {shown(choice['name'])}, which 'tools' lacks.",
            param="tool_choice.name",
            code="invalid_value",
        )


def chosen(choice: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a chat that a checked choice stands for."""
    kind = choice["type"]
    named = {"type": "function", "function": {"name": choice["name"]}} if kind == "tool" else None
    said: dict[str, Any] = {"tool_choice": named or {"any": "required"}.get(kind, kind)}
    if choice.get("disable_parallel_tool_use"):
        said["parallel_tool_calls"] = False
    return said
