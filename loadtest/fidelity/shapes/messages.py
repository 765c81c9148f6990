"""Anthropic's Messages, and their count of tokens, held against the engine's own as Responses are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtest.fidelity.rules import Rule, added, hidden, integers, served, texts
from loadtest.fidelity.shapes.chat import FEW, long_text
from loadtest.fidelity.shapes.shape import Shape
from loadtest.fidelity.shapes.tools import LONGER, TIME, WEATHER

PATH, COUNT = "/v1/messages", "/v1/messages/count_tokens"
DIFFERS = (
    Rule(r"answer\.id", "vLLM calls it as it calls a chat, Anthropic a message", texts),
    Rule(r"answer\.content\[\d+\]\.id", "drawn anew for each call", texts),
    Rule(r"answer\.stop_sequence", "Anthropic's message has it where it is null too", added),
    Rule(
        r"answer\.usage\.(?:input_tokens|cache_read_input_tokens|cache_creation_input_tokens)",
        "a tenant's cache is its own, and Anthropic counts what is read of it apart: the sum is `prompt_tokens`",
        lambda engine, gateway: gateway is None or integers(engine, gateway),
    ),
    Rule(r"answer\.(?:error\.details|request_id)", "by which clients tell errors apart and find them again", added),
    Rule(
        r"answer\.type",
        "Anthropic's envelope, also where vLLM has OpenAI's",
        lambda engine, gateway: gateway == "error",
    ),
    Rule(r"answer\.context_management", "no conversation is shortened: it says the same again", hidden),
)
GOES_ON = Rule(
    r"answer\.(?:content\[0\]\.text|prompt_tokens|usage\.\w+)",
    "Anthropic goes on with the assistant's message that comes last; vLLM begins another one behind it",
)
SILLY = served("a small model calls with arguments that are no object: vLLM fails on its own model's words")
USER = {"role": "user", "content": "Name a colour."}


def message(name: str, messages: Any = None, *, differs: tuple[Rule, ...] = (), **fields: Any) -> Shape:
    """A greedy, short one."""
    body = {"messages": [USER] if messages is None else messages, "temperature": 0, "max_tokens": FEW} | fields
    return Shape(f"messages: {name}", PATH, body, (*differs, *DIFFERS), frozenset({"messages"}))


def tools() -> list[dict[str, Any]]:
    """The two of chats."""
    functions = [one["function"] for one in (WEATHER, TIME)]
    return [
        {"name": one["name"], "description": one["description"], "input_schema": one["parameters"]} for one in functions
    ]


def tooled(name: str, messages: Any = None, *, differs: tuple[Rule, ...] = (), **fields: Any) -> Shape:
    """One with two tools."""
    asked: dict[str, Any] = {"tools": tools(), "max_tokens": LONGER} | fields
    shape = message(name, messages, **asked)
    return Shape(shape.name, shape.path, shape.body, (*differs, *DIFFERS), shape.needs | {"tools"})


def counted(name: str, **fields: Any) -> Shape:
    """A question for the tokens of a conversation."""
    return Shape(f"count_tokens: {name}", COUNT, {"messages": [USER]} | fields, DIFFERS, frozenset({"messages"}))


def shapes(context: int) -> Sequence[Shape]:
    """All of them."""
    said, marked = {"role": "assistant", "content": "Red."}, {"cache_control": {"type": "ephemeral"}}
    system = [{"type": "text", "text": "Be brief.", **marked}, {"type": "text", "text": "Be kind."}]
    parts = [{"type": "text", "text": "Name a colour."}, {"type": "text", "text": "One word.", **marked}]
    called = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "rain"}]}
    answered = [USER, {"role": "assistant", "content": [called]}, {"role": "user", "content": [result]}]
    return [
        message("a text"),
        message("a system prompt", system="Be brief."),
        message("a system prompt in blocks", system=system),
        message("text in blocks", [{"role": "user", "content": parts}]),
        message("three turns", [USER, said, {"role": "user", "content": "Another one."}]),
        message("an answer that has begun", [USER, said | {"content": "My colour is"}], differs=(GOES_ON,)),
        message("a text as long as the context takes", [{"role": "user", "content": long_text(context)}]),
        message("stop sequences", stop_sequences=["e", "o"]),
        message("a nucleus of few tokens", top_p=0.5, top_k=3),
        message("who asks", metadata={"user_id": "u-1"}),
        message("a stream", stream=True),
        message("a stream that a stop sequence ends", stream=True, stop_sequences=["e", "o"]),
        tooled("tools that may be called", max_tokens=FEW),
        tooled("a tool that must be called", tool_choice={"type": "any"}, differs=SILLY),
        tooled("a tool by its name", tool_choice={"type": "tool", "name": "get_time"}, differs=SILLY),
        tooled("a stream of a call that is required", tool_choice={"type": "any"}, stream=True),
        tooled("a stream of tools that may be called", max_tokens=FEW, stream=True),
        tooled("the result of a call", answered, max_tokens=FEW),
        message("refused: a text longer than the context", [{"role": "user", "content": " late" * (context + 100)}]),
        message("refused: an answer longer than the context", max_tokens=context + 1),
        message("refused: a temperature in words", temperature="hot"),
        message("refused: messages that are no list", "Hello"),
        counted("a text"),
        counted("a system prompt", system="Be brief."),
        Shape("count_tokens: tools", COUNT, {"messages": [USER], "tools": tools()}, DIFFERS,
              frozenset({"messages", "tools"})),
    ]  # fmt: skip
