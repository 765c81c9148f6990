"""The messages of a conversation. Text only: a media URL would make the engine fetch it from inside the network.

Null is absent at every depth, and so is what `replayed` lists. What no table knows is refused, or passes for tenants
whose unknown fields do: it may not be deep, and never be a name that vLLM reads media under.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from gateway.api.bounds import WITHIN
from gateway.api.fields import replayed
from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import Unknown, invalid, keyed, listed, missing, shallow, text, too_many, wrong_type
from gateway.api.fields.faults import Faults, each
from gateway.errors import BadRequest

_COMMON = frozenset({"role", "content", "name"})
_OF_ASSISTANTS = frozenset({"tool_calls", "refusal", "reasoning", "reasoning_content"})
_KEYS = {
    "system": _COMMON,
    "developer": _COMMON,
    "user": _COMMON,
    "assistant": _COMMON | _OF_ASSISTANTS,
    "tool": _COMMON | {"tool_call_id"},
}
_CHECKED = _COMMON | _OF_ASSISTANTS | {"tool_call_id"}
_ROLES = ", ".join(f"'{role}'" for role in _KEYS)
_ROLE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_MAY_SAY_NOTHING = frozenset({"assistant", "tool"})
_OTHER_FORMS = {
    "function_call": "Function calls are not supported; send 'tool_calls'.",
    "audio": "Audio is not supported; send the transcript as 'content'.",
    "parts": "Parts are not read there; send the text as 'content'.",
    "toolInvocations": "Calls are not read there; send them as 'tool_calls', and their results as messages of tools.",
}
"""What an answer may have been instead of text, and is refused unless the message has text or calls beside it."""
_READ = {role: keys | frozenset(_OTHER_FORMS) for role, keys in _KEYS.items()}
_READ_OF_OTHERS = _COMMON | frozenset(_OTHER_FORMS)
_NAME = text(256, least_chars=1)
_TEXT = text(2**31)  # bounded by the body
_PART_KEYS = frozenset({"type", "text", "refusal"})
MEDIA = frozenset(
    {
        *("image_url", "input_image", "image_pil", "image_embeds", "audio_url", "input_audio", "audio_embeds"),
        *("video_url", "video_embeds", "prompt_embeds", "file", "uuid"),
    }
)
"""Keys of a part that vLLM takes for media, whatever its type says."""
_CALL_KEYS = frozenset({"id", "type", "function"})
_FUNCTION_KEYS = frozenset({"name", "arguments"})


def messages(value: Any, param: str, caps: Caps) -> list[dict[str, Any]]:
    """The conversation, less what clients send back from an answer and the engine has no use for."""
    listed(value, param, "messages", caps.max_messages)
    kept = []
    faults = Faults()
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
            kept.append(message)
        elif message is not None:
            try:
                kept.append(_message(message, f"{param}[{index}]", caps))
            except BadRequest as fault:
                faults.add(fault)
    if faults:
        faults.settle()
    if not kept:
        raise invalid(param, "a non-empty list of messages", value)
    return kept


def _message(message: Any, param: str, caps: Caps) -> dict[str, Any]:
    if type(message) is not dict:
        raise wrong_type(param, "an object with 'role' and 'content'", message)
    role = _role(message.get("role"), f"{param}.role", caps)
    known = _READ.get(role, _READ_OF_OTHERS)
    is_answer = role == "assistant" and ("content" in message or "tool_calls" in message)
    dropped = replayed.IN_MESSAGE if role == "assistant" else replayed.IN_MESSAGE_OF_OTHERS
    given = keyed(message, param, known, dropped=dropped, unknown=_unknown(caps, is_answer))
    kept: dict[str, Any] = {}
    faults = Faults()
    for key, item in given.items():
        if key in _OTHER_FORMS:
            continue
        try:
            checked = _checked(role, key, item, f"{param}.{key[:64]}", caps, bool(given.get("tool_calls")))
            if checked is not None:
                kept[key] = checked
        except BadRequest as fault:
            faults.add(fault)
    faults.settle()
    _require(role, kept, given, param)
    return kept


def _unknown(caps: Caps, is_replayed: bool) -> Unknown:
    """What becomes of what nobody knows in a message, where everybody's unknown keys are dropped if it is replayed."""
    if caps.passes_unknown:
        return "pass"
    return "dropped unless misspelt" if is_replayed else "refused"


def _role(role: Any, param: str, caps: Caps) -> str:
    if type(role) is str and (role in _KEYS or (caps.passes_unknown and _ROLE.fullmatch(role))):
        return role
    raise invalid(param, "'tool'" if role == "function" else f"one of {_ROLES}", role)


def _require(role: str, message: dict[str, Any], given: dict[str, Any], param: str) -> None:
    """That the message says something, in a form that there is here."""
    for form, remedy in _OTHER_FORMS.items():
        if form in given and not message.get("content") and "tool_calls" not in message:
            raise BadRequest(remedy, param=f"{param}.{form}", code="unsupported_parameter")
    if "content" not in message and role in _MAY_SAY_NOTHING and not message.keys() & {"tool_calls", "refusal"}:
        message["content"] = ""
    if "content" not in message and "tool_calls" not in message and "refusal" not in message:
        raise missing(f"{param}.content")
    if role == "tool" and "tool_call_id" not in message:
        raise BadRequest(
            f"'{param}.tool_call_id' is required: it says which call this message answers.",
            param=f"{param}.tool_call_id",
            code="missing_required_parameter",
        )


def _checked(role: str, key: str, item: Any, param: str, caps: Caps, has_calls: bool) -> Any:
    """What is forwarded of one entry of a message; None when it comes to nothing."""
    if key == "content":
        return item if type(item) is str else _parts(role, item, param, caps, has_calls)
    if key == "tool_calls":
        calls = listed(item, param, "tool calls", caps.max_tools)
        return each(calls, param, lambda call, path: _tool_call(call, path, caps)) or None
    if key in _CHECKED:
        return (_NAME if key == "name" else _TEXT)(item, param, caps)
    return item if key == "role" else shallow(item, param, caps)


def _parts(role: str, value: Any, param: str, caps: Caps, has_calls: bool) -> list[dict[str, Any]] | None:
    if type(value) is not list:
        raise wrong_type(param, "a string or a list of text parts", value)
    if not value and role not in _MAY_SAY_NOTHING:
        raise invalid(param, "a string or a non-empty list of text parts", value)
    if len(value) > caps.max_parts:
        raise too_many(param, "parts", len(value), caps.max_parts)
    parts = each(value, param, lambda part, path: _part(role, part, path, caps, has_calls))
    return [part for part in parts if part is not None] or None


def _part(role: str, part: Any, param: str, caps: Caps, has_calls: bool) -> dict[str, Any] | None:
    """A part as the engine reads it; None for a thought, which belongs to the model that had it, and for what the
    message says in another place.

    A string alone is a text, as LangChain keeps it.
    """
    if type(part) is str:
        return {"type": "text", "text": part}
    if type(part) is not dict:
        raise wrong_type(param, "an object with 'type' and 'text'", part)
    kind = part.get("type")
    if role == "assistant" and type(kind) is str:
        silent = replayed.SILENT_BESIDE_CALLS if has_calls else replayed.SILENT
        if kind in silent:
            return None
    kind = replayed.TEXT_PARTS.get(kind, kind) if type(kind) is str else kind
    if type(kind) is str and kind in replayed.CALLS:
        raise BadRequest(
            f"'{param}.type' must be 'text', not '{kind}'. Send calls as 'tool_calls' of the assistant's message, and "
            "each result as a message with the role 'tool' and its 'tool_call_id'.",
            param=f"{param}.type",
            code="unsupported_value",
        )
    if kind != "text" and not (kind == "refusal" and role == "assistant"):
        raise BadRequest(
            f"'{param}.type' must be 'text', not {_kind(kind)}: this model reads text only.",
            param=f"{param}.type",
            code="unsupported_value",
        )
    unknown = _unknown(caps, role == "assistant")
    kept = keyed(part, param, _PART_KEYS, dropped=replayed.IN_PART - MEDIA, unknown=unknown, never=MEDIA)
    said = {"type": kind, kind: _TEXT(kept.get(kind), f"{param}.{kind}", caps)}
    return said | _unread(kept, _PART_KEYS, param, caps)


def _kind(kind: Any) -> str:
    return f"'{kind[:40]}'" if type(kind) is str else "missing or of another type"


def _unread(kept: dict[str, Any], known: frozenset[str], param: str, caps: Caps) -> dict[str, Any]:
    """The entries that pass unread, if there are any: what `keyed` has kept and nobody knows."""
    if not caps.passes_unknown:
        return {}
    return {key: shallow(item, f"{param}.{key[:64]}", caps) for key, item in kept.items() if key not in known}


def _tool_call(call: Any, param: str, caps: Caps) -> dict[str, Any]:
    kept = keyed(call, param, _CALL_KEYS, dropped=replayed.IN_CALL, unknown=_unknown(caps, True))
    if kept.get("type", "function") != "function":
        raise invalid(f"{param}.type", "'function'", kept["type"])
    path = f"{param}.function"
    function = kept.get("function")
    unknown = _unknown(caps, type(function) is dict and "arguments" in function)
    function = keyed(function, path, _FUNCTION_KEYS, dropped=replayed.IN_FUNCTION_OF_CALL, unknown=unknown)
    return {
        "id": _TEXT(kept.get("id"), f"{param}.id", caps),
        "type": "function",
        "function": {
            "name": _NAME(function.get("name"), f"{path}.name", caps),
            "arguments": arguments(function.get("arguments", "{}"), f"{path}.arguments", caps),
            **_unread(function, _FUNCTION_KEYS, path, caps),
        },
        **_unread(kept, _CALL_KEYS, param, caps),
    }


def arguments(value: Any, param: str, caps: Caps) -> str:
    """JSON in a string, as the model wrote it. The engine parses it recursively, so its depth is bounded here;
    text that is no JSON is the engine's to forgive, as long as it cannot be deep."""
    checked: str = _TEXT(value, param, caps)
    WITHIN.refuse_more(checked.encode(), param)
    if checked.count("{") + checked.count("[") > caps.max_depth:
        try:
            shallow(orjson.loads(checked), param, caps)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"'{param}' is not valid JSON: {error}.", param=param, code="invalid_value") from error
    return checked
