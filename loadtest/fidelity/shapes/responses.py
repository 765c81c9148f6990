"""Responses. They are held against the engine's own: the model is asked the same, and says the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtest.fidelity.shapes.chat import FEW, SCHEMA, long_text
from loadtest.fidelity.shapes.shape import Shape
from loadtest.fidelity.shapes.tools import LONGER, TIME, WEATHER

PATH = "/v1/responses"
ASKED = "Name a colour."


def response(name: str, given: Any = ASKED, **fields: Any) -> Shape:
    """A greedy, short one that nobody keeps."""
    body = {"input": given, "temperature": 0, "max_output_tokens": FEW, "store": False} | fields
    kept = {key: value for key, value in body.items() if value is not None}
    return Shape(f"responses: {name}", PATH, kept, needs=frozenset({"responses"}))


def tooled(name: str, given: Any = ASKED, **fields: Any) -> Shape:
    """One with two tools."""
    tools = [{"type": "function", **one["function"]} for one in (WEATHER, TIME)]
    shape = response(name, given, **{"tools": tools, "max_output_tokens": LONGER} | fields)
    return Shape(shape.name, shape.path, shape.body, needs=shape.needs | {"tools"})


def shapes(context: int) -> Sequence[Shape]:
    """All of them."""
    user, said = {"role": "user", "content": ASKED}, {"role": "assistant", "content": "Red."}
    parts = [{"type": "input_text", "text": ASKED}, {"type": "input_text", "text": "One word."}]
    form = {"format": {"type": "json_schema", "name": "colour", "schema": SCHEMA, "strict": True}}
    call = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city": "Oslo"}'}
    result = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
    named = {"type": "function", "name": "get_time"}
    return [
        response("a text"),
        response("instructions", instructions="Be brief."),
        response("instructions for a developer's message", [{"role": "developer", "content": "Be brief."}, user]),
        response("three turns", [user, said, {"role": "user", "content": "Another one."}]),
        response("text in parts", [{"type": "message", "role": "user", "content": parts}]),
        response("a text as long as the context takes", long_text(context)),
        response("hints", user="u-1", metadata={"team": "a"}, safety_identifier="s", service_tier="auto"),
        response("no tools and one at a time", tools=[], parallel_tool_calls=False),
        response("a nucleus", temperature=0, top_p=0.5, truncation="disabled"),
        response("JSON of a schema", text=form, max_output_tokens=24),
        response("a stream", stream=True),
        response("a stream with instructions", stream=True, instructions="Be brief."),
        response("a stream of JSON of a schema", text=form, max_output_tokens=24, stream=True),
        tooled("tools, none of them to be called", tool_choice="none", max_output_tokens=FEW),
        tooled("tools that may be called", max_output_tokens=FEW),
        tooled("a tool that must be called", tool_choice="required"),
        tooled("a tool by its name", tool_choice=named),
        tooled("a stream of a call that is required", tool_choice="required", stream=True),
        tooled("a stream of tools that may be called", max_output_tokens=FEW, stream=True),
        tooled("the result of a call", [user, call, result], max_output_tokens=FEW),
        response("refused: a text longer than the context", " late" * (context + 100)),
        response("refused: an answer longer than the context", max_output_tokens=context + 1),
        response("refused: a temperature in words", temperature="hot"),
        response("refused: no input", None),
    ]
