"""Messages of a row, checked and read; codes of faults are those of OpenAI's data preparation cookbook."""

from __future__ import annotations

import json
import re
from typing import Any

from trainer.data.faults import Fault
from trainer.data.lines import kind, shown, text_fault
from trainer.data.rows import Message, ToolCall

ROLES = ("system", "developer", "user", "assistant", "tool")
COMMON = ("role", "content", "name", "weight")
KEYS_OF = {"assistant": (*COMMON, "tool_calls", "refusal"), "tool": (*COMMON, "tool_call_id")}
MAX_MESSAGES = 1_000
MAX_CALLS = 128
MAX_KEYS_NAMED = 5
FUNCTION_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
SPEAKER = re.compile(r"[^\s<|\\/>\x00-\x1f]{1,64}")


def messages_faults(number: int, where: str, messages: Any) -> list[Fault]:
    """What is wrong with a list of messages that stands in the field `where`."""
    if not isinstance(messages, list) or not messages:
        return [Fault(number, "missing_messages_list", f"{where!r} must be a list with at least one message")]
    if len(messages) > MAX_MESSAGES:
        text = f"{len(messages)} messages, and {MAX_MESSAGES} is the most; split the conversation"
        return [Fault(number, "too_many_messages", text)]
    return [
        fault
        for index, message in enumerate(messages)
        for fault in _message_faults(number, f"{where}[{index}]", message)
    ]


def turns_of(messages: list[dict[str, Any]]) -> tuple[Message, ...]:
    """Messages without faults as turns."""
    return tuple(_turn(message) for message in messages)


def is_learnt(message: dict[str, Any]) -> bool:
    """Whether it is an answer with weight 1, as those without one have."""
    return bool(message["role"] == "assistant" and message.get("weight") in (None, 1))


def dialogue_fault(number: int, turns: tuple[Message, ...]) -> Fault | None:
    """What makes turns no conversation: an answer to nothing, or of a tool that nobody called."""
    spoken = next((turn for turn in turns if turn.role not in ("system", "developer")), None)
    if spoken is not None and spoken.role == "assistant":
        return Fault(number, "missing_prompt", "an answer comes before any user message; begin with a user turn")
    asked: set[str] = set()
    for index, turn in enumerate(turns):
        if turn.role == "tool" and turn.tool_call_id not in asked:
            text = (
                f"messages[{index}].tool_call_id is {shown(turn.tool_call_id)}, which no message before it called; "
                "give the id of one of the assistant's tool_calls"
            )
            return Fault(number, "tool_call_unknown", text)
        asked |= {call.id for call in turn.tool_calls}
    return None


def content_faults(number: int, where: str, text: str) -> list[Fault]:
    """What makes a text nothing to train on."""
    if not text.strip():
        return [Fault(number, "missing_content", f"{where} is empty; write its text or remove the row")]
    fault = text_fault(number, where, text)
    return [fault] if fault else []


def _message_faults(number: int, where: str, message: Any) -> list[Fault]:
    if not isinstance(message, dict):
        return [Fault(number, "data_type", f"{where} is {kind(message)}; it must be an object")]
    role = message.get("role")
    known = KEYS_OF.get(role, COMMON) if isinstance(role, str) else COMMON
    faults = [
        Fault(number, "message_unrecognized_key", f"{where} has the unknown key {shown(key)}; remove it")
        for key in sorted(key for key, value in message.items() if value not in (None, []) and key not in known)[
            :MAX_KEYS_NAMED
        ]
    ]
    needed = ["role", *(["content"] if not message.get("tool_calls") else []), *_needed_by(role)]
    faults.extend(
        Fault(number, "message_missing_key", f"{where} lacks {key!r}; add it") for key in needed if key not in message
    )
    if "role" in message and role not in ROLES:
        text = f"{where}.role is {shown(role)}; use {', '.join(ROLES)}"
        faults.append(Fault(number, "unrecognized_role", text))
    faults.extend(_content_faults(number, where, message))
    if isinstance(message.get("weight"), bool) or message.get("weight") not in (None, 0, 1):
        faults.append(Fault(number, "data_type", f"{where}.weight is {shown(message['weight'])}; it must be 0 or 1"))
    faults.extend(_named(number, f"{where}.name", message.get("name"), SPEAKER))
    if message.get("refusal") is not None:
        faults.append(Fault(number, "data_type", f"{where}.refusal is not trained on; put its text into content"))
    return [*faults, *_calls_faults(number, where, message.get("tool_calls"))]


def _needed_by(role: Any) -> tuple[str, ...]:
    return ("tool_call_id",) if role == "tool" else ()


def _content_faults(number: int, where: str, message: dict[str, Any]) -> list[Fault]:
    where = f"{where}.content"
    content = message.get("content", "-")
    if content is None and message.get("tool_calls"):
        return []
    parts = content if isinstance(content, list) else [content]
    for index, part in enumerate(parts if isinstance(content, list) else []):
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            what = shown(part.get("type")) if isinstance(part, dict) else kind(part)
            return [
                Fault(number, "data_type", f'{where}[{index}] is {what}; only {{"type": "text", "text"}} is trained')
            ]
    if not isinstance(content, str | list):
        return [Fault(number, "data_type", f"{where} is {kind(content)}; it must be a string or a list of text parts")]
    text = _text([part["text"] if isinstance(part, dict) else part for part in parts])
    if message.get("role") == "tool" or message.get("tool_calls"):  # a tool may answer nothing, a call need no words
        fault = text_fault(number, where, text)
        return [fault] if fault else []
    return content_faults(number, where, text)


def _calls_faults(number: int, where: str, calls: Any) -> list[Fault]:
    where = f"{where}.tool_calls"
    if calls is None:
        return []
    if not isinstance(calls, list) or not calls or len(calls) > MAX_CALLS:
        return [Fault(number, "data_type", f"{where} must be a list of 1 to {MAX_CALLS} calls; correct or remove it")]
    faults: list[Fault] = []
    for index, call in enumerate(calls):
        faults.extend(_call_faults(number, f"{where}[{index}]", call))
    return faults


def _call_faults(number: int, where: str, call: Any) -> list[Fault]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or call.get("type") not in (None, "function"):
        text = f'{where} must be {{"id", "type": "function", "function": {{"name", "arguments"}}}}'
        return [Fault(number, "data_type", text)]
    faults = _named(number, f"{where}.function.name", function.get("name", ""), FUNCTION_NAME)
    identity = call.get("id")
    if not isinstance(identity, str) or not 0 < len(identity) <= 256 or text_fault(number, where, identity):
        faults.append(Fault(number, "data_type", f"{where}.id is {shown(identity)}; give it a short string"))
    if arguments_of(function.get("arguments")) is None:
        text = f"{where}.function.arguments is {shown(function.get('arguments'))}; it must be the text of a JSON object"
        faults.append(Fault(number, "tool_arguments", text))
    return faults


def _named(number: int, where: str, name: Any, pattern: re.Pattern[str]) -> list[Fault]:
    if name is None or (isinstance(name, str) and pattern.fullmatch(name)):
        return []
    text = f"{where} is {shown(name)}; a name has at most 64 letters, digits, dashes and underscores"
    return [Fault(number, "odd_name", text)]


def arguments_of(given: Any) -> str | None:
    """A call's arguments as the text of a JSON object; None when they are none."""
    try:
        value = json.loads(given) if isinstance(given, str) else given
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError):
        return None
    return text if isinstance(value, dict) else None


def _turn(message: dict[str, Any]) -> Message:
    content = message.get("content") or ""
    parts = [part["text"] for part in content] if isinstance(content, list) else [content]
    calls = tuple(
        ToolCall(call["id"], call["function"]["name"], arguments_of(call["function"].get("arguments")) or "{}")
        for call in message.get("tool_calls") or ()
    )
    return Message(message["role"], _text(parts), calls, message.get("tool_call_id"), message.get("name"))


def _text(parts: list[str]) -> str:
    """Several text parts are one text with a line each, as vLLM joins them."""
    return "\n".join(parts)
