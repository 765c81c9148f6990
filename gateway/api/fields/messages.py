"""The messages of a conversation. Text only: a media URL would make the engine fetch it from inside the network."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import invalid, keyed, listed, shallow, text, too_many, unknown_key, wrong_type
from gateway.errors import BadRequest

_ASSISTANT = frozenset({"tool_calls", "refusal", "reasoning", "reasoning_content", "annotations"})
_KEYS = {
    "system": frozenset({"role", "content", "name"}),
    "developer": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset({"role", "content", "name"}) | _ASSISTANT,
    "tool": frozenset({"role", "content", "name", "tool_call_id"}),
}
_ROLES = ", ".join(f"'{role}'" for role in _KEYS)
_UNSUPPORTED = {
    "function_call": "Function calls are not supported; send 'tool_calls'.",
    "audio": "Audio is not supported; send the transcript as 'content'.",
}
_NAME = text(256, least_chars=1)
_TEXT = text(2**31)  # bounded by the body
_PART_KEYS = frozenset({"type", "text", "refusal", "prompt_cache_breakpoint", "cache_control"})
_CALL_KEYS = frozenset({"id", "type", "function", "index"})
_FUNCTION_KEYS = frozenset({"name", "arguments"})


def messages(value: Any, param: str, caps: Caps) -> list[dict[str, Any]]:
    """The conversation, less what OpenAI clients send back from an answer and the engine has no use for."""
    if not listed(value, param, "messages", caps.max_messages):
        raise invalid(param, "a non-empty list of messages", value)
    for index, message in enumerate(value):
        # The usual message, {"role": "user", "content": "…"}, needs no more than this.
        if (
            type(message) is dict
            and len(message) == 2
            and type(message.get("content")) is str
            and type(role := message.get("role")) is str
            and role in _KEYS
            and role != "tool"
        ):
            continue
        value[index] = _message(message, f"{param}[{index}]", caps)
    return value  # type: ignore[no-any-return]


def _message(message: Any, param: str, caps: Caps) -> dict[str, Any]:
    if type(message) is not dict:
        raise wrong_type(param, "an object with 'role' and 'content'", message)
    role = message.get("role")
    if type(role) is not str or role not in _KEYS:
        hint = "'tool'" if role == "function" else f"one of {_ROLES}"
        raise invalid(f"{param}.role", hint, role)
    kept = {}
    for key, item in message.items():
        if item is None and key in (_KEYS[role] | _UNSUPPORTED.keys()):
            continue
        if key in _UNSUPPORTED:
            raise BadRequest(_UNSUPPORTED[key], param=f"{param}.{key}", code="unsupported_parameter")
        if key not in _KEYS[role]:
            raise unknown_key(f"{param}.{key[:64]}")
        if key != "annotations":
            kept[key] = _part_of_message(role, key, item, f"{param}.{key}", caps)
    if kept.get("tool_calls") == []:
        del kept["tool_calls"]
    _require(role, kept, param)
    return kept


def _require(role: str, message: dict[str, Any], param: str) -> None:
    if "content" not in message and "tool_calls" not in message and "refusal" not in message:
        raise BadRequest(f"'{param}.content' is required.", param=f"{param}.content", code="missing_required_parameter")
    if role == "tool" and "tool_call_id" not in message:
        raise BadRequest(
            f"'{param}.tool_call_id' is required: it says which call this message answers.",
            param=f"{param}.tool_call_id",
            code="missing_required_parameter",
        )


def _part_of_message(role: str, key: str, item: Any, param: str, caps: Caps) -> Any:
    if key == "content":
        return item if type(item) is str else _parts(role, item, param, caps)
    if key == "tool_calls":
        return [
            _tool_call(call, f"{param}[{i}]", caps)
            for i, call in enumerate(listed(item, param, "tool calls", caps.max_tools))
        ]
    return (_NAME if key in ("name", "tool_call_id") else _TEXT)(item, param, caps)


def _parts(role: str, value: Any, param: str, caps: Caps) -> list[dict[str, str]]:
    if type(value) is not list:
        raise wrong_type(param, "a string or a list of text parts", value)
    if not value:
        raise invalid(param, "a string or a non-empty list of text parts", value)
    if len(value) > caps.max_parts:
        raise too_many(param, "parts", len(value), caps.max_parts)
    return [_part(role, part, f"{param}[{index}]", caps) for index, part in enumerate(value)]


def _part(role: str, part: Any, param: str, caps: Caps) -> dict[str, str]:
    if type(part) is not dict:
        raise wrong_type(param, "an object with 'type' and 'text'", part)
    kind = part.get("type")
    if kind != "text" and not (kind == "refusal" and role == "assistant"):
        raise BadRequest(
            f"'{param}.type' must be 'text', not {_kind(kind)}: this model reads text only.",
            param=f"{param}.type",
            code="unsupported_value",
        )
    kept = keyed(part, param, _PART_KEYS)
    return {"type": kind, kind: _TEXT(kept.get(kind), f"{param}.{kind}", caps)}


def _kind(kind: Any) -> str:
    return f"'{kind[:40]}'" if type(kind) is str else "missing or of another type"


def _tool_call(call: Any, param: str, caps: Caps) -> dict[str, Any]:
    kept = keyed(call, param, _CALL_KEYS)
    if kept.get("type", "function") != "function":
        raise invalid(f"{param}.type", "'function'", kept["type"])
    function = keyed(kept.get("function"), f"{param}.function", _FUNCTION_KEYS)
    return {
        "id": _NAME(kept.get("id"), f"{param}.id", caps),
        "type": "function",
        "function": {
            "name": _NAME(function.get("name"), f"{param}.function.name", caps),
            "arguments": _arguments(function.get("arguments"), f"{param}.function.arguments", caps),
        },
    }


def _arguments(value: Any, param: str, caps: Caps) -> str:
    """JSON in a string, as the model wrote it. The engine parses it recursively, so its depth is bounded here;
    text that is no JSON is the engine's to forgive, as long as it cannot be deep."""
    checked: str = _TEXT(value, param, caps)
    if checked.count("{") + checked.count("[") > caps.max_depth:
        try:
            shallow(orjson.loads(checked), param, caps)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"'{param}' is not valid JSON: {error}.", param=param, code="invalid_value") from error
    return checked
