"""The input of a response: a text, or items. Text only, as in chats.

What is kept of an item is what the model reads. Items of an answer are replayed and not written by hand: there all that
nobody knows is dropped, unless it looks like a misspelt key that is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.api.dialects.responses.kept import REFERENCE
from gateway.api.fields import replayed
from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import Unknown, invalid, keyed, listed, missing, one_of, text, wrong_type
from gateway.api.fields.faults import each
from gateway.api.fields.messages import MEDIA, arguments
from gateway.errors import BadRequest
from gateway.keeping import SEALED

ROLES = ("user", "assistant", "system", "developer")
UNFINISHED = frozenset({"in_progress", "incomplete"})
"""Statuses of an item that its model did not end."""
_ROLES = ", ".join(f"'{role}'" for role in ROLES)
_TEXT = text(2**31)  # bounded by the body
_ID = text(512, least_chars=1)
_NAME = text(256, least_chars=1)
_STATUS = one_of("in_progress", "completed", "incomplete")
_PART_KEYS = frozenset({"type", "text", "refusal"})
_STEPS = frozenset({"web_search_call", "file_search_call", "code_interpreter_call", "mcp_list_tools", "mcp_call"})
"""What tools did that ran at another vendor: the message behind them says what came of it."""


def items(value: Any, param: str, caps: Caps) -> list[dict[str, Any]]:
    """The items; a text is a message of the user."""
    if type(value) is str:
        return [{"type": "message", "role": "user", "content": value}]
    if type(value) is not list:
        raise wrong_type(param, "a string or a list of items", value)
    listed(value, param, "items", caps.max_messages)
    kept = [item for item in each(value, param, lambda item, path: _item(item, path, caps)) if item is not None]
    if not kept:
        raise invalid(param, "a string or a non-empty list of items", value)
    return kept


def _item(item: Any, param: str, caps: Caps) -> dict[str, Any] | None:
    if type(item) is not dict:
        raise wrong_type(param, "an object with 'type'", item)
    # The usual item, {"role": "user", "content": "…"}, needs no more than this.
    if len(item) == 2 and type(item.get("content")) is str and item.get("role") in ROLES:
        return {"type": "message", **item}
    kind = item.get("type") or _kind_of(item)
    if type(kind) is str and kind in _STEPS:
        return None
    read = _READ.get(kind) if type(kind) is str else None
    if read is None:
        kinds = ", ".join(f"'{kind}'" for kind in _READ)
        found = f"'{kind[:40]}'" if type(kind) is str else "missing or of another type"
        raise BadRequest(
            f"'{param}.type' must be one of {kinds}, not {found}. Tools that are no functions are not offered.",
            param=f"{param}.type",
            code="unsupported_value",
        )
    return read(item, param, caps)


def _kind_of(item: dict[str, Any]) -> str | None:
    """Of an item that does not say it."""
    if "role" in item:
        return "message"
    return REFERENCE if item.keys() == {"id"} else None


def _unknown(caps: Caps, *, is_replayed: bool) -> Unknown:
    if caps.passes_unknown:
        return "dropped"
    return "dropped unless misspelt" if is_replayed else "refused"


def _required(given: dict[str, Any], key: str, param: str) -> Any:
    if key not in given:
        raise missing(f"{param}.{key}")
    return given[key]


_MESSAGE_KEYS = frozenset({"type", "role", "content", "id", "status"})


_REMEDIES = {
    "tool": " (send the result of a call as an item of the type 'function_call_output')",
    "function": " (send the result of a call as an item of the type 'function_call_output')",
}


def _message(item: dict[str, Any], param: str, caps: Caps) -> dict[str, Any]:
    role = item.get("role")
    if type(role) is not str or role not in ROLES:
        raise invalid(f"{param}.role", f"one of {_ROLES}{_REMEDIES.get(str(role), '')}", role)
    replays = role == "assistant"
    dropped = replayed.IN_MESSAGE if replays else replayed.IN_MESSAGE_OF_OTHERS
    given = keyed(item, param, _MESSAGE_KEYS, dropped=dropped, unknown=_unknown(caps, is_replayed=replays))
    content = _content(role, _required(given, "content", param), f"{param}.content", caps)
    return {"type": "message", "role": role, "content": content, **_status(given, param, caps)}


def _status(given: dict[str, Any], param: str, caps: Caps) -> dict[str, str]:
    if "status" not in given:
        return {}
    return {"status": _STATUS(given["status"], f"{param}.status", caps)}


def _content(role: str, value: Any, param: str, caps: Caps) -> str | list[dict[str, Any]]:
    if type(value) is str:
        return value
    if type(value) is not list:
        raise wrong_type(param, "a string or a list of text parts", value)
    if not value and role in ("user", "system", "developer"):
        raise invalid(param, "a string or a non-empty list of text parts", value)
    listed(value, param, "parts", caps.max_parts)
    parts = each(value, param, lambda part, path: _part(role, part, path, caps))
    return [part for part in parts if part is not None] or ""


def _part(role: str, part: Any, param: str, caps: Caps) -> dict[str, Any] | None:
    """A part as the model reads it; None for what another vendor's model thought, and how it came to its answer."""
    says = role == "assistant"
    if type(part) is str:
        part = {"type": "text", "text": part}
    if type(part) is not dict:
        raise wrong_type(param, "an object with 'type' and 'text'", part)
    kind = part.get("type")
    if says and type(kind) is str and kind in replayed.SILENT:
        return None
    if type(kind) is not str or (kind not in replayed.TEXT_PARTS and not (says and kind == "refusal")):
        expected = "'output_text' or 'refusal'" if says else "'input_text'"
        found = f"'{kind[:40]}'" if type(kind) is str else "missing or of another type"
        raise BadRequest(
            f"'{param}.type' must be {expected}, not {found}: this model reads text only.",
            param=f"{param}.type",
            code="unsupported_value",
        )
    unknown = _unknown(caps, is_replayed=says)
    given = keyed(part, param, _PART_KEYS, dropped=replayed.IN_PART - MEDIA, unknown=unknown, never=MEDIA)
    if kind == "refusal":
        return {"type": kind, "refusal": _TEXT(_required(given, "refusal", param), f"{param}.refusal", caps)}
    said = _TEXT(_required(given, "text", param), f"{param}.text", caps)
    return {"type": "output_text" if says else "input_text", "text": said}


_CALL_KEYS = frozenset({"type", "call_id", "name", "arguments", "id", "status"})


def _call(item: dict[str, Any], param: str, caps: Caps) -> dict[str, Any]:
    given = keyed(item, param, _CALL_KEYS, unknown=_unknown(caps, is_replayed=True))
    return {
        "type": "function_call",
        "call_id": _ID(_required(given, "call_id", param), f"{param}.call_id", caps),
        "name": _NAME(_required(given, "name", param), f"{param}.name", caps),
        "arguments": arguments(given.get("arguments", "{}"), f"{param}.arguments", caps),
        **_status(given, param, caps),
    }


_RESULT_KEYS = frozenset({"type", "call_id", "output", "id", "status"})


def _result(item: dict[str, Any], param: str, caps: Caps) -> dict[str, Any]:
    given = keyed(item, param, _RESULT_KEYS, unknown=_unknown(caps, is_replayed=True))
    return {
        "type": "function_call_output",
        "call_id": _ID(_required(given, "call_id", param), f"{param}.call_id", caps),
        "output": _content("tool", _required(given, "output", param), f"{param}.output", caps),
        **_status(given, param, caps),
    }


_REASONING_KEYS = frozenset({"type", "summary", "content", "encrypted_content", "id", "status"})


def _reasoning(item: dict[str, Any], param: str, caps: Caps) -> dict[str, Any] | None:
    """What was thought, unless that is for its own vendor's eyes alone."""
    given = keyed(item, param, _REASONING_KEYS, unknown=_unknown(caps, is_replayed=True))
    kept = {
        key: each(
            listed(given.get(key, []), f"{param}.{key}", "parts", caps.max_parts),
            f"{param}.{key}",
            lambda part, path, kind=kind: _thought(part, path, kind, caps),  # type: ignore[misc]
        )
        for key, kind in (("summary", "summary_text"), ("content", "reasoning_text"))
    }
    sealed = given.get("encrypted_content")
    if type(sealed) is str and sealed.startswith(SEALED):
        return {"type": "reasoning", **kept, "encrypted_content": sealed, **_status(given, param, caps)}
    if not kept["summary"] and not kept["content"]:
        return None
    return {"type": "reasoning", **kept, **_status(given, param, caps)}


def _thought(part: Any, param: str, kind: str, caps: Caps) -> dict[str, str]:
    given = keyed(part, param, _PART_KEYS, unknown=_unknown(caps, is_replayed=True))
    if given.get("type", kind) != kind:
        raise invalid(f"{param}.type", f"'{kind}'", given["type"])
    return {"type": kind, "text": _TEXT(_required(given, "text", param), f"{param}.text", caps)}


_REFERENCE_KEYS = frozenset({"type", "id"})


def _reference(item: dict[str, Any], param: str, caps: Caps) -> dict[str, Any]:
    """What stands for an item that is kept: that is read before an engine is asked."""
    given = keyed(item, param, _REFERENCE_KEYS, unknown=_unknown(caps, is_replayed=True))
    return {"type": REFERENCE, "id": _ID(_required(given, "id", param), f"{param}.id", caps)}


_READ: dict[str, Callable[[dict[str, Any], str, Caps], dict[str, Any] | None]] = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _result,
    "reasoning": _reasoning,
    REFERENCE: _reference,
}
