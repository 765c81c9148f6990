"""What no engine of its kind says: how it is called in an engine's status, in metrics and in the log."""

from __future__ import annotations

from typing import Literal, get_args

Breach = Literal[
    "usage_missing",
    "usage_malformed",
    "usage_shrinks",
    "usage_twice",
    "usage_too_high",
    "other_model",
    "too_long",
    "bad_http",
]
"""Of its count of tokens: there is none, none that can be read, one that takes something back, another one behind the
last, more than the request can use. An answer signed by another model, or longer than the request can have one. What is
no HTTP of an engine: a 101, trailers, a head without end.
"""
BREACHES: tuple[Breach, ...] = get_args(Breach)


class EngineBroke(Exception):
    """An engine's answer had begun and did not end properly, or cannot be understood."""


class EngineLied(EngineBroke):
    """An engine's answer is none that may be believed, and nothing of it is charged to anybody."""

    def __init__(self, breach: Breach, text: str) -> None:
        super().__init__(text)
        self.breach: Breach = breach
