"""A quote against what a training really took."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from registry.words import size


@dataclass(frozen=True, slots=True)
class Actual:
    """What a training took: steps, seconds of its steps, trained tokens (prompts too, padding not), and the most memory
    that was in use, from loading the base to measuring results.
    """

    steps: int
    seconds: float
    trained_tokens: int
    peak_bytes: int


def against_actual(quoted: Mapping[str, Any], actual: Actual) -> dict[str, Any]:
    """`quoted` is a quote's document. For each figure what was quoted, what it was, and actual / quoted; None: unknown.

    A training that stopped early, or was resumed, took less than was quoted.
    """
    time = quoted.get("time")
    figures = {
        "steps": (quoted.get("steps"), actual.steps),
        "trained_tokens": (quoted.get("trained_tokens"), actual.trained_tokens),
        "seconds": (time and time["seconds"], round(actual.seconds, 3)),
        "memory_bytes": (quoted.get("needed_bytes"), actual.peak_bytes),
    }
    found: dict[str, Any] = {name: _compared(*pair) for name, pair in figures.items()}
    if time:
        found["within_quoted_range"] = time["fastest_seconds"] <= actual.seconds <= time["slowest_seconds"]
    return found


def truth_sentence(compared: Mapping[str, Any]) -> str:
    """One line for people."""
    shown: tuple[tuple[str, str, Callable[[float], str]], ...] = (
        ("tokens trained", "trained_tokens", "{:,}".format),
        ("seconds of training", "seconds", "{:.1f}".format),
        ("memory", "memory_bytes", size),
    )
    figures = (f"{words} {_words(compared[name], form)}" for words, name, form in shown)
    return f"quoted against actual: {'; '.join(figures)}"


def _compared(quoted: float | None, actual: float) -> dict[str, Any]:
    return {"quoted": quoted, "actual": actual, "ratio": round(actual / quoted, 3) if quoted else None}


def _words(figure: Mapping[str, Any], form: Callable[[float], str]) -> str:
    if figure["quoted"] is None:
        return f"{form(figure['actual'])}, which was not quoted"
    return f"{form(figure['quoted'])} quoted, {form(figure['actual'])} taken"
