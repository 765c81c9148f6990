"""The shapes of requests that are tried, by dialect: a file each, and a line here."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.fidelity.shapes import chat, completions, messages, pooling, refusals, responses, tokens, tools
from loadtest.fidelity.shapes.shape import Shape

PARTS = (chat, tools, completions, tokens, refusals, responses, messages, pooling)


def shapes(context: int) -> Sequence[Shape]:
    """All of them, for a model whose context has so many tokens."""
    return [shape for part in PARTS for shape in part.shapes(context)]
