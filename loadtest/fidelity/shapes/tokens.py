"""Counting tokens, as vLLM has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtest.fidelity.shapes.chat import USER
from loadtest.fidelity.shapes.shape import Shape
from loadtest.fidelity.shapes.tools import ANSWERED, WEATHER


def shapes(context: int) -> Sequence[Shape]:
    """All of them."""
    return [
        _tokenize("a text", prompt="The colours of the flag are"),
        _tokenize("a text without special tokens", prompt="Ça va? 🙂", add_special_tokens=False),
        _tokenize("the texts of tokens", prompt="One two", return_token_strs=True),
        _tokenize("a conversation", messages=[{"role": "system", "content": "Be brief."}, USER]),
        _tokenize("a conversation with tools", messages=ANSWERED, tools=[WEATHER]),
        _tokenize(
            "a conversation to be continued",
            messages=[USER, {"role": "assistant", "content": "Re"}],
            continue_final_message=True,
            add_generation_prompt=False,
        ),
        Shape("detokenize: a few tokens", "/v1/detokenize", {"tokens": [504, 253, 28]}, engine_path="/detokenize"),
    ]


def _tokenize(name: str, **body: Any) -> Shape:
    return Shape(f"tokenize: {name}", "/v1/tokenize", body, engine_path="/tokenize")
