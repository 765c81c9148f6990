"""What both refuse, and what a gateway of many tenants refuses though an engine takes it."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.fidelity.rules import refused
from loadtest.fidelity.shapes.chat import chat
from loadtest.fidelity.shapes.completions import text
from loadtest.fidelity.shapes.shape import Shape


def shapes(context: int) -> Sequence[Shape]:
    """All of them."""
    too_long = " late" * (context + 100)
    return [
        Shape(**chat("refused: a conversation longer than the context", [{"role": "user", "content": too_long}])),
        Shape(**chat("refused: an answer longer than the context", max_tokens=context + 1)),
        Shape(**chat("refused: no messages", [])),
        Shape(**chat("refused: messages that are no list", messages="Hello")),
        Shape(**chat("refused: a role that is a number", [{"role": 1, "content": "x"}])),
        Shape(**chat("refused: a temperature in words", temperature="hot")),
        Shape(**chat("refused: a temperature below 0", temperature=-1)),
        Shape(**chat("refused: no answer at all", n=0)),
        Shape(**chat("refused: a schema that is none", response_format={"type": "json_schema"})),
        Shape(**chat("refused: a stream of a conversation longer than the context",
                     [{"role": "user", "content": too_long}], stream=True)),
        Shape(
            **chat("refused: a field that nobody knows", new_sampler=1),
            differs=refused("a field that nobody knows is most often a misspelt one, and would do nothing"),
        ),
        Shape(
            **chat("refused: a place before all others", priority=-1),
            differs=refused("one tenant could pass before all others"),
        ),
        Shape(**text("refused: a text longer than the context", too_long)),
        Shape(**text("refused: no prompt", None)),
        Shape(**text("refused: too many log-probabilities", logprobs=1_000)),
    ]  # fmt: skip
