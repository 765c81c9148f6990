"""Chats as OpenAI had them before tools: `functions`, `function_call`, and turns with the role `function`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CALL, OFFERED, ROLE = "function_call", "functions", "function"


def with_tools(row: dict[str, Any]) -> dict[str, Any]:
    """The row with tools and their calls in place of functions; what is neither stays, for whoever checks it."""
    messages = row.get("messages")
    turns = [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []
    if row.get(OFFERED) is None and not any(turn.get(CALL) or turn.get("role") == ROLE for turn in turns):
        return row
    written = {key: value for key, value in row.items() if key != OFFERED}
    if isinstance(row.get(OFFERED), list) and row.get("tools") is None:
        written["tools"] = [{"type": "function", "function": one} for one in row[OFFERED]]
    elif row.get(OFFERED) is not None:
        written[OFFERED] = row[OFFERED]
    if isinstance(messages, list):
        written["messages"] = _turns(messages)
    return written


def _turns(messages: list[Any]) -> list[Any]:
    called = ""
    turns: list[Any] = []
    for place, message in enumerate(messages):
        turn = message
        if isinstance(message, Mapping) and message.get(CALL) and not message.get("tool_calls"):
            called = f"call_{place}"
            call = {"id": called, "type": "function", "function": message[CALL]}
            turn = {key: value for key, value in message.items() if key != CALL} | {"tool_calls": [call]}
        elif isinstance(message, Mapping) and message.get("role") == ROLE and called:
            turn = {key: value for key, value in message.items() if key != "name"}
            turn |= {"role": "tool", "tool_call_id": called}
        turns.append(turn)
    return turns
