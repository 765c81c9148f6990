"""The fields of a response that chats have in another shape, or do not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.api.fields import replayed
from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import (
    Unknown,
    flag,
    invalid,
    keyed,
    listed,
    name,
    one_of,
    options,
    schema,
    text,
    wrong_type,
)
from gateway.api.fields.faults import each
from gateway.api.fields.grammar_cost import affordable
from gateway.errors import BadRequest

LOGPROBS = "message.output_text.logprobs"
THOUGHTS = "reasoning.encrypted_content"
_INCLUDED = frozenset(
    {
        LOGPROBS,
        *(THOUGHTS, "file_search_call.results", "web_search_call.results"),
        *("web_search_call.action.sources", "message.input_image.image_url", "computer_call_output.output.image_url"),
        "code_interpreter_call.outputs",
    }
)
_DESCRIPTION = text(65_536)
_FORMAT = one_of("text", "json_object", "json_schema")
_FORMAT_KEYS = {
    "text": frozenset({"type"}),
    "json_object": frozenset({"type"}),
    "json_schema": frozenset({"type", "name", "description", "schema", "strict"}),
}
VERBOSITY = one_of("low", "medium", "high")


def text_options(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    """How the text of the answer is to be: text, any JSON, or JSON of a schema."""
    given = options(value, param, frozenset({"format", "verbosity"}), caps)
    kept: dict[str, Any] = {}
    if "format" in given:
        kept["format"] = _format(given["format"], f"{param}.format", caps)
    if "verbosity" in given:
        kept["verbosity"] = VERBOSITY(given["verbosity"], f"{param}.verbosity", caps)
    return kept


def _format(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    if type(value) is not dict:
        raise wrong_type(param, "an object", value)
    kind = _FORMAT(value.get("type"), f"{param}.type", caps)
    given = options(value, param, _FORMAT_KEYS[kind], caps)
    if kind != "json_schema":
        return {"type": kind}
    name(given.get("name"), f"{param}.name", caps)
    affordable([schema(given.get("schema"), f"{param}.schema", caps)], f"{param}.schema", caps)
    if "description" in given:
        _DESCRIPTION(given["description"], f"{param}.description", caps)
    if "strict" in given:
        flag(given["strict"], f"{param}.strict", caps)
    return given


_TOOL_KEYS = frozenset({"type", "name", "description", "parameters", "strict"})
_DROPPED_OF_TOOL = replayed.IN_TOOL | {"output_schema"}
"""What a result looks like helps no engine."""


def tools(value: Any, param: str, caps: Caps) -> list[dict[str, Any]]:
    """Functions; what their grammar costs is a matter of `tool_choice` too."""
    return each(listed(value, param, "tools", caps.max_tools), param, lambda tool, path: _tool(tool, path, caps))


def _tool(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    if type(value) is not dict:
        raise wrong_type(param, "an object with 'type' and 'name'", value)
    if value.get("type") != "function":
        kind = value.get("type")
        found = f"'{kind[:40]}'" if type(kind) is str else "missing or of another type"
        raise BadRequest(
            f"'{param}.type' must be 'function', not {found}: no tools run here. Offer a function, and answer its "
            "calls with items of the type 'function_call_output'.",
            param=f"{param}.type",
            code="unsupported_value",
        )
    if "function" in value and "name" not in value:
        raise BadRequest(
            f"'{param}.function' is how chats have it. Send 'name', 'description' and 'parameters' beside 'type'.",
            param=f"{param}.function",
            code="unknown_parameter",
        )
    unknown: Unknown = "dropped" if caps.passes_unknown else "refused"
    given = keyed(value, param, _TOOL_KEYS, dropped=_DROPPED_OF_TOOL, unknown=unknown)
    name(given.get("name"), f"{param}.name", caps)
    if "description" in given:
        _DESCRIPTION(given["description"], f"{param}.description", caps)
    if "parameters" in given:
        schema(given["parameters"], f"{param}.parameters", caps)
    if "strict" in given:
        flag(given["strict"], f"{param}.strict", caps)
    return given


def tool_choice(value: Any, param: str, caps: Caps) -> Any:
    """`none`, `auto`, `required`, one function by its name, or some that are allowed."""
    if value in ("none", "auto", "required"):
        return value
    kind = value.get("type") if type(value) is dict else None
    if kind == "function":
        return _function(value, param, caps)
    if kind == "allowed_tools":
        given = options(value, param, frozenset({"type", "mode", "tools"}), caps)
        one_of("auto", "required")(given.get("mode"), f"{param}.mode", caps)
        path = f"{param}.tools"
        allowed = listed(given.get("tools"), path, "tools", caps.max_tools)
        if not allowed:
            raise invalid(path, "a non-empty list of functions", allowed)
        return {**given, "tools": each(allowed, path, lambda tool, path: _function(tool, path, caps))}
    expected = '\'none\', \'auto\', \'required\', {"type": "function", "name": …} or {"type": "allowed_tools", …}'
    raise invalid(param, expected, value)


def _function(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    given = options(value, param, frozenset({"type", "name"}), caps)
    if given.get("type") != "function":
        raise invalid(f"{param}.type", "'function'", given.get("type"))
    return {"type": "function", "name": name(given.get("name"), f"{param}.name", caps)}


_REASONING = {
    "effort": one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "summary": one_of("auto", "concise", "detailed"),
    "generate_summary": one_of("auto", "concise", "detailed"),
    "context": one_of("auto", "current_turn", "all_turns"),
    "mode": text(64),
}


def reasoning(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    """How much to think. Thoughts are told as they are: nothing sums them up."""
    given = options(value, param, frozenset(_REASONING), caps)
    return {key: _REASONING[key](item, f"{param}.{key}", caps) for key, item in given.items()}


def include(value: Any, param: str, caps: Caps) -> list[str]:
    """What the answer is to have beside its text; most of it is of tools that do not run here."""
    return each(
        listed(value, param, "names", 64), param, lambda item, path: one_of(*sorted(_INCLUDED))(item, path, caps)
    )


def conversation(value: Any, param: str, caps: Caps) -> str:
    """The id of a conversation, alone or in an object."""
    if type(value) is dict:
        given = options(value, param, frozenset({"id"}), caps)
        value, param = given.get("id"), f"{param}.id"
    checked: str = text(512, least_chars=1)(value, param, caps)
    return checked


def conversation_id(given: Mapping[str, Any]) -> str | None:
    """Of a checked body."""
    named: str | dict[str, str] | None = given.get("conversation")
    return named["id"] if isinstance(named, dict) else named
