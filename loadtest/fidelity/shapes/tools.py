"""Chats with tools. What is called need not be sensible, only the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtest.fidelity.rules import served
from loadtest.fidelity.shapes.chat import USER, chat
from loadtest.fidelity.shapes.shape import Shape

LONGER = 48
"""Tokens that a call takes."""


def tool(name: str, **arguments: Any) -> dict[str, Any]:
    """A function that takes these, all of them required."""
    parameters = {
        "type": "object",
        "properties": arguments,
        "required": list(arguments),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": f"To {name}.", "parameters": parameters}}


WEATHER = tool("get_weather", city={"type": "string", "enum": ["Oslo", "Rome"]})
TIME = tool("get_time", zone={"type": "string", "enum": ["CET", "UTC"]})
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
ANSWERED: list[Any] = [
    USER,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
]


def shapes(context: int) -> Sequence[Shape]:
    """All of them."""
    both = [WEATHER, TIME]
    two = {**ANSWERED[1], "tool_calls": [CALL, CALL | {"id": "call_2"}]}
    results = [ANSWERED[2], ANSWERED[2] | {"tool_call_id": "call_2", "content": [{"type": "text", "text": "sun"}]}]
    named = {"type": "function", "function": {"name": "get_time"}}
    strict = WEATHER | {"function": {**WEATHER["function"], "strict": True}}
    asked = [
        chat("tools, none of them to be called", tools=both, tool_choice="none"),
        chat("tools that may be called", tools=both),
        chat("tools that may be called one at a time", tools=both, tool_choice="auto", parallel_tool_calls=False),
        chat("a tool that must be called", tools=[WEATHER], tool_choice="required", max_tokens=LONGER),
        chat("one of two tools must be called", tools=both, tool_choice="required", max_tokens=LONGER),
        chat("a call that is cut off", tools=both, tool_choice="required", max_tokens=3),
        chat("a stream of a call that is cut off", tools=both, tool_choice="required", max_tokens=3, stream=True),
        chat("a tool by its name", tools=both, tool_choice=named, max_tokens=LONGER),
        chat("a strict tool", tools=[strict], tool_choice="required", max_tokens=LONGER),
        chat("a stream of a call that is required", tools=both, tool_choice="required", max_tokens=LONGER, stream=True),
        chat("a stream of a call by name", tools=both, tool_choice=named, max_tokens=LONGER, stream=True,
             stream_options={"include_usage": True}),
        chat("a stream of tools that may be called", tools=both, stream=True),
        chat("a call with log-probabilities", tools=[TIME], tool_choice=named, max_tokens=LONGER, logprobs=True),
        chat("the result of a call", ANSWERED, tools=both),
        chat("the results of two calls", [USER, two, *results], tools=both),
        chat("a result in a conversation without tools", ANSWERED),
    ]  # fmt: skip
    none = chat("an empty list of tools", tools=[])
    return [
        *(Shape(**one, needs=frozenset({"tools"} if one["body"].get("tools") else ())) for one in asked),
        Shape(**none, differs=served("a list without tools is none; vLLM refuses it")),
    ]
