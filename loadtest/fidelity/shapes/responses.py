"""Responses. They are held against the engine's own: the model is asked the same, and says the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtest.fidelity.rules import Rule, added, alike_ids, integers, left_out, texts
from loadtest.fidelity.shapes.chat import FEW, SCHEMA, long_text
from loadtest.fidelity.shapes.shape import Shape
from loadtest.fidelity.shapes.tools import LONGER, TIME, WEATHER

PATH = "/v1/responses"
DEFAULTS = (("auto", "default"), ("none", "auto"), (1.0, None))
"""Of fields that were not sent: what vLLM says that it took, and what OpenAI's service says."""


def _defaults(engine: Any, gateway: Any) -> bool:
    return engine is None or engine == gateway or (engine, gateway) in DEFAULTS


DIFFERS = (
    Rule(r"answer\.(?:output\[\d+\]\.)?id", "drawn anew for each answer; its kind is the same", alike_ids),
    Rule(r"answer\.output\[\d+\]\.call_id", "drawn anew for each call", texts),
    Rule(r"answer\.created_at", "the clock said so each time", integers),
    Rule(
        r"answer\.(?:presence_penalty|frequency_penalty|input_messages|output_messages|prompt|text\.verbosity"
        r"|text\.format\.\w+|tools\[\d+\]\.\w+|output\[\d+\]\.\w+"
        r"|usage\.(?:in|out)put_tokens_details\.(?:\w+_per_turn|tool_output_tokens))",
        "null, empty or 0, and not asked for: the gateway does not repeat it",
        left_out,
    ),
    Rule(
        r"answer\.(?:completed_at|error|store|conversation|prompt_cache_key|prompt_cache_retention|safety_identifier)",
        "OpenAI's response has it, vLLM's has not",
        added,
    ),
    Rule(
        r"answer\.(?:metadata|reasoning|text|top_logprobs|service_tier|tool_choice|top_p|temperature"
        r"|tools\[\d+\]\.strict|output\[\d+\]\.content\[\d+\]\.logprobs)",
        "what was not sent is told as OpenAI tells it, not by vLLM's defaults",
        _defaults,
    ),
    Rule(
        r"answer\.(?:user|metadata)\b.*", "who asks is told back as it was sent", lambda engine, gateway: engine is None
    ),
    Rule(
        r"answer\.top_p",
        "as it was sent; vLLM says what greedy sampling makes of it",
        lambda engine, gateway: bool(engine == 1.0),
    ),
    Rule(
        r"answer\.usage\.input_tokens_details\.(?:cached_tokens|cache_write_tokens)",
        "a tenant's cache is its own",
        integers,
    ),
    Rule(
        r"answer\.output\[\d+\]\.status",
        "an item that was cut off is incomplete, as at OpenAI",
        lambda engine, gateway: (engine, gateway) == ("completed", "incomplete"),
    ),
    Rule(
        r"answer\.events\[\d+\]",
        "OpenAI ends the stream of an answer that is cut off so; vLLM calls it completed",
        lambda engine, gateway: (engine, gateway) == ("response.completed", "response.incomplete"),
    ),
)
ASKED = "Name a colour."


def response(name: str, given: Any = ASKED, **fields: Any) -> Shape:
    """A greedy, short one that nobody keeps."""
    body = {"input": given, "temperature": 0, "max_output_tokens": FEW, "store": False} | fields
    kept = {key: value for key, value in body.items() if value is not None}
    return Shape(f"responses: {name}", PATH, kept, DIFFERS, frozenset({"responses"}))


def tooled(name: str, given: Any = ASKED, **fields: Any) -> Shape:
    """One with two tools."""
    tools = [{"type": "function", **one["function"]} for one in (WEATHER, TIME)]
    shape = response(name, given, **{"tools": tools, "max_output_tokens": LONGER} | fields)
    return Shape(shape.name, shape.path, shape.body, DIFFERS, shape.needs | {"tools"})


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
