"""System prompt and messages, checked, and as the chat that vLLM makes of the same ones.

Results of tools become messages of tools, before what the user says in the same turn. Thoughts are given back to the
model that had them. Text only, as in chats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from gateway.api.fields import replayed
from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import (
    Unknown,
    flag,
    invalid,
    keyed,
    listed,
    missing,
    one_of,
    shallow,
    text,
    too_many,
    wrong_type,
)
from gateway.api.fields.faults import Faults, each
from gateway.errors import BadRequest

ChatMessage = dict[str, Any]
BILLING_HEADER = "x-anthropic-billing-header"
"""What Claude Code puts before its system prompt: another one each time, so that no prompt would be in a cache."""

_ROLE = one_of("user", "assistant", "system")
_KEYS = frozenset({"role", "content"})
_DROPPED: Mapping[str, frozenset[str]] = {
    "user": replayed.ANYWHERE,
    "assistant": replayed.IN_MESSAGE,
    "system": replayed.ANYWHERE | {"clear_at", "output_config"},
}
_TEXT = text(2**31)  # bounded by the body
_NAME = text(256, least_chars=1)
_BLOCKS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"type", "text"}),
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
    "tool_use": frozenset({"type", "id", "name", "input"}),
    "tool_result": frozenset({"type", "tool_use_id", "content", "is_error"}),
}
"""What is known of each type of block."""
_BLOCKS_OF: Mapping[str, tuple[str, ...]] = {
    "user": ("text", "tool_result"),
    "assistant": ("text", "thinking", "redacted_thinking", "tool_use"),
    "system": ("text",),
}
_DROPPED_IN_BLOCK = replayed.IN_PART | {"citations", "caller", "toolset_name"}
_STEPS = replayed.CALLS - {"tool_use", "tool_result"} | {
    *("web_fetch_tool_result", "text_editor_code_execution_tool_result", "tool_search_tool_result"),
    *("advisor_tool_result", "mcp_tool_listing", "fallback", "redacted_thinking"),
}
"""Blocks of assistants in which Anthropic's servers did something, or which only they can read."""


def system(value: Any, param: str, caps: Caps) -> str | None:
    """The system prompt; None when it says nothing."""
    if type(value) is str:
        return value or None
    return _system_text(value, param, caps)


def messages(value: Any, param: str, caps: Caps) -> list[ChatMessage]:
    """The conversation, as messages of a chat."""
    listed(value, param, "messages", caps.max_messages)
    chat: list[ChatMessage] = []
    faults = Faults()
    for index, message in enumerate(value):
        # The usual message, {"role": "user", "content": "…"}, needs no more than this.
        if (
            type(message) is dict
            and len(message) == 2
            and type(message.get("content")) is str
            and message.get("role") in ("user", "assistant")
        ):
            chat.append(message)
        elif message is not None:
            try:
                chat += _message(message, f"{param}[{index}]", caps)
            except BadRequest as fault:
                faults.add(fault)
    faults.settle()
    if not chat:
        raise invalid(param, "a list of messages that say something", value)
    return chat


def _message(message: Any, param: str, caps: Caps) -> list[ChatMessage]:
    if type(message) is not dict:
        raise wrong_type(param, "an object with 'role' and 'content'", message)
    role = _ROLE(message.get("role"), f"{param}.role", caps)
    given = keyed(message, param, _KEYS, dropped=_DROPPED[role], unknown=_unknown(caps, role == "assistant"))
    content, path = given.get("content"), f"{param}.content"
    if content is None:
        raise missing(path)
    if role == "system":
        said = content if type(content) is str else _system_text(content, path, caps)
        return [{"role": role, "content": said}] if said and not said.startswith(BILLING_HEADER) else []
    if type(content) is str:
        return [{"role": role, "content": content}]
    return (_user if role == "user" else _assistant)(_listed(content, path, caps), path, caps)


def _unknown(caps: Caps, is_replayed: bool) -> Unknown:
    if caps.passes_unknown:
        return "dropped"  # engines are asked in another dialect, which has no place for it
    return "dropped unless misspelt" if is_replayed else "refused"


def _listed(value: Any, param: str, caps: Caps) -> list[Any]:
    if type(value) is not list:
        raise wrong_type(param, "a string or a list of content blocks", value)
    if len(value) > caps.max_parts:
        raise too_many(param, "content blocks", len(value), caps.max_parts)
    return value


def _system_text(value: Any, param: str, caps: Caps) -> str | None:
    def said(block: Any, path: str) -> str:
        return _said(_block(block, path, "system", caps), path, caps)

    texts = each(_listed(value, param, caps), param, said)
    return "".join(one for one in texts if not one.startswith(BILLING_HEADER)) or None


def _user(content: list[Any], param: str, caps: Caps) -> list[ChatMessage]:
    if not content:
        raise invalid(param, "a string or a non-empty list of content blocks", content)
    results: list[ChatMessage] = []
    texts: list[str] = []

    def take(block: Any, path: str) -> None:
        kept = _block(block, path, "user", caps)
        if kept["type"] == "text":
            texts.append(_said(kept, path, caps))
        else:
            results.append(_result(kept, path, caps))

    each(content, param, take)
    said = _content(texts)
    return results if said is None else [*results, {"role": "user", "content": said}]


def _assistant(content: list[Any], param: str, caps: Caps) -> list[ChatMessage]:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []

    def take(block: Any, path: str) -> None:
        if type(block) is dict and type(kind := block.get("type")) is str and kind in _STEPS:
            return
        kept = _block(block, path, "assistant", caps)
        if kept["type"] == "text":
            texts.append(_said(kept, path, caps))
        elif kept["type"] == "thinking":
            thoughts.append(_TEXT(kept.get("thinking", ""), f"{path}.thinking", caps))
        else:
            calls.append(_call(kept, path, caps))

    each(content, param, take)
    message: ChatMessage = {"role": "assistant"}
    said = _content(texts)
    if thoughts:
        message["reasoning"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    if said is not None or not calls:
        message["content"] = said or ""
    return [message]


def _block(block: Any, param: str, role: str, caps: Caps) -> dict[str, Any]:
    """What is known of a block, of a type that its role may say."""
    if type(block) is not dict:
        raise wrong_type(param, "an object with 'type'", block)
    kind = block.get("type")
    if type(kind) is not str or kind not in _BLOCKS_OF[role]:
        raise _wrong_kind(kind, f"{param}.type", role)
    return keyed(block, param, _BLOCKS[kind], dropped=_DROPPED_IN_BLOCK, unknown=_unknown(caps, role == "assistant"))


def _wrong_kind(kind: Any, param: str, role: str) -> BadRequest:
    kinds = ", ".join(f"'{one}'" for one in _BLOCKS_OF[role])
    found = f"'{kind[:40]}'" if type(kind) is str else "missing or of another type"
    if type(kind) is str and kind in _BLOCKS:
        others = " and ".join(f"'{one}'" for one, has in _BLOCKS_OF.items() if kind in has)
        why = f"in a message with the role '{role}'. It stands in messages with the role {others}."
    else:
        why = "here. This model reads text only; send what it is to read as text."
    return BadRequest(f"'{param}' must be one of {kinds}, not {found}, {why}", param=param, code="unsupported_value")


def _said(block: Mapping[str, Any], param: str, caps: Caps) -> str:
    return _TEXT(block.get("text"), f"{param}.text", caps)  # type: ignore[no-any-return]


def _content(texts: list[str]) -> str | list[dict[str, str]] | None:
    said = [one for one in texts if one]
    if len(said) < 2:
        return said[0] if said else None
    return [{"type": "text", "text": one} for one in said]


def _call(block: Mapping[str, Any], param: str, caps: Caps) -> dict[str, Any]:
    given = block.get("input", {})
    if type(given) is not dict:
        raise wrong_type(f"{param}.input", "an object", given)
    arguments = orjson.dumps(shallow(given, f"{param}.input", caps)).decode()
    name = _NAME(block.get("name"), f"{param}.name", caps)
    called = _NAME(block.get("id"), f"{param}.id", caps)
    return {"id": called, "type": "function", "function": {"name": name, "arguments": arguments}}


def _result(block: Mapping[str, Any], param: str, caps: Caps) -> ChatMessage:
    called = _NAME(block.get("tool_use_id"), f"{param}.tool_use_id", caps)
    if "is_error" in block:
        flag(block["is_error"], f"{param}.is_error", caps)
    content, path = block.get("content", ""), f"{param}.content"
    if type(content) is not str:
        said: Callable[[Any, str], str] = lambda one, place: _said(_block(one, place, "system", caps), place, caps)  # noqa: E731
        content = "\n".join(each(_listed(content, path, caps), path, said))
    return {"role": "tool", "tool_call_id": called, "content": content}
