"""The functions that a row offers: checked, and written as the engine gives them to the chat template."""

from __future__ import annotations

import json
import re
from typing import Any

from trainer.data.faults import Fault
from trainer.data.lines import kind, shown
from trainer.data.rows import Message
from trainer.data.turns import FUNCTION_NAME

MAX_TOOLS = 128
MAX_NAMED = 5
PROPERTY = re.compile(r"[\w.$@/-]{1,64}")
"""A parameter's name is rendered into the prompt: one with blanks in it is a sentence to the model."""
FUNCTION_KEYS = ("name", "description", "parameters", "strict")


def tools_faults(number: int, tools: Any) -> list[Fault]:
    """What is wrong with the field `tools` of a row."""
    if not isinstance(tools, list) or len(tools) > MAX_TOOLS:
        return [Fault(number, "data_type", f"'tools' must be a list of at most {MAX_TOOLS} functions; correct it")]
    faults: list[Fault] = []
    for index, tool in enumerate(tools):
        faults.extend(_tool_faults(number, f"tools[{index}]", tool))
    try:
        json.dumps(tools, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        faults.append(Fault(number, "lone_surrogate", "'tools' holds what is no text or number; correct it"))
    return faults


def calls_faults(number: int, turns: tuple[Message, ...], row: dict[str, Any]) -> list[Fault]:
    """Calls of functions that the row does not offer, and several at once where it forbids that."""
    if not isinstance(row.get("parallel_tool_calls"), bool | None):
        text = f"'parallel_tool_calls' is {kind(row['parallel_tool_calls'])}; it must be true or false"
        return [Fault(number, "data_type", text)]
    offered = {tool["function"]["name"] for tool in row.get("tools") or ()}
    faults = []
    for index, turn in enumerate(turns):
        unknown = [call.name for call in turn.tool_calls if call.name not in offered][:MAX_NAMED]
        if unknown:
            names = ", ".join(map(shown, unknown))
            text = f"messages[{index}] calls {names}, which 'tools' does not offer; add it to 'tools'"
            faults.append(Fault(number, "tool_not_offered", text))
        if len(turn.tool_calls) > 1 and row.get("parallel_tool_calls") is False:
            text = f"messages[{index}] has {len(turn.tool_calls)} tool_calls, and parallel_tool_calls is false"
            faults.append(Fault(number, "parallel_tool_calls", f"{text}; make it true, or leave one call"))
    return faults


def tools_text(tools: Any) -> str:
    """Tools without faults as the text of a JSON list, in the order of keys that vLLM renders; empty without any."""
    if not tools:
        return ""
    return json.dumps([_as_engine_does(tool["function"]) for tool in tools], ensure_ascii=False)


def _as_engine_does(function: dict[str, Any]) -> dict[str, Any]:
    written = {key: function.get(key) for key in FUNCTION_KEYS}
    if written["strict"] is None:
        del written["strict"]
    return {"type": "function", "function": written}


def _tool_faults(number: int, where: str, tool: Any) -> list[Fault]:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or tool.get("type") != "function":
        text = f'{where} must be {{"type": "function", "function": {{"name", "description", "parameters"}}}}'
        return [Fault(number, "data_type", text)]
    where = f"{where}.function"
    name = function.get("name")
    unknown = sorted(key for key, value in function.items() if value is not None and key not in FUNCTION_KEYS)
    faults = [
        Fault(number, "unrecognized_key", f"{where} has the unknown key {shown(key)}; remove it")
        for key in unknown[:MAX_NAMED]
    ]
    if not isinstance(name, str) or not FUNCTION_NAME.fullmatch(name):
        text = f"{where}.name is {shown(name)}; a name has at most 64 letters, digits, dashes and underscores"
        faults.append(Fault(number, "odd_name", text))
    if not isinstance(function.get("description", ""), str | None):
        faults.append(Fault(number, "data_type", f"{where}.description must be a string"))
    parameters = function.get("parameters")
    if not isinstance(parameters, dict | None):
        return [*faults, Fault(number, "data_type", f"{where}.parameters is {kind(parameters)}; give a JSON schema")]
    odd = [name for name in _properties(parameters) if not PROPERTY.fullmatch(name)][:MAX_NAMED]
    faults.extend(
        Fault(
            number, "odd_field_name", f"{where}.parameters has a property {shown(name)}, which reads as text; rename it"
        )
        for name in odd
    )
    return faults


def _properties(schema: Any) -> list[str]:
    """Names of properties at any depth; the row's JSON was read, so its depth has an end."""
    found: list[str] = []
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            named = value.get("properties")
            found += list(named) if isinstance(named, dict) else []
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found
