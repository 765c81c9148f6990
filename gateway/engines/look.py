"""An engine at one instant, as it tells it itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Look:
    """An engine at one instant, summed over its data-parallel ranks."""

    boot: float
    """When its process began, in seconds since the epoch. With every start it changes, and every adapter is gone."""
    running: int
    waiting: int
    kv_usage: float
    """0 to 1."""
    steps: int
    """Steps of the scheduler since the boot; while requests run and this stands still, the engine hangs."""
    max_loras: int | None
    """Its --max-loras, the adapters in one step, once it has run any; `None` before."""
    prompt_tokens: int
    """Read since the boot: each prompt once for each of its answers, cached tokens and aborted requests included."""
    generation_tokens: int
    """Made since the boot, whether or not somebody was there to read them."""
    cached_tokens: int
    """Of the prompts' tokens, those that the prefix cache had."""
    asked_ms: int
    """The figures are of a moment between this and `answered_ms`, in milliseconds since the epoch."""
    answered_ms: int
