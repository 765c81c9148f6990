"""What a training tells while it runs, and what it asks: the one seam between methods and whoever follows them.

The command line, a job's child process and tests each are a `Watch`; a method knows no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

Level = Literal["info", "warn"]
MOST_NATS = 700.0
"""Of a loss that has a perplexity; e to the power of more is no number of a computer's."""

Order = Literal["go", "save", "stop"]
"""`save` = make a checkpoint now and go on; `stop` = make one and raise `TrainingStopped`."""


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """What was measured at an optimiser step; `None` is what was not measured there.

    `step` counts from 1. Losses are means in nats per answer token, accuracies the share of answer tokens that were the
    likeliest ones. `valid_…` are of a sample of the held-out rows, `full_valid_…` of all of them. `trained_tokens` are
    all tokens until now, prompts too, padding not; `seconds_left` is what the other steps will take at this pace.
    """

    step: int
    total_steps: int
    train_loss: float | None = None
    train_mean_token_accuracy: float | None = None
    valid_loss: float | None = None
    valid_mean_token_accuracy: float | None = None
    full_valid_loss: float | None = None
    full_valid_mean_token_accuracy: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_second: float | None = None
    trained_tokens: int | None = None
    seconds_left: float | None = None


def perplexity(loss: float | None) -> float | None:
    """e to the power of a loss; of none, and of one beyond all bounds, there is none."""
    return None if loss is None or loss > MOST_NATS else math.exp(loss)


class Watch(Protocol):
    """Who follows a training."""

    def stage(self, text: str) -> None:
        """A new stage begins."""

    def say(self, message: str, *, level: Level = "info", data: Mapping[str, Any] | None = None) -> None:
        """There is something that a person should know; `data` is what belongs to it, JSON-ready."""

    def metrics(self, measured: StepMetrics) -> None:
        """Something was measured at a step; there may be several of one step."""

    def after(self, step: int, total_steps: int) -> Order:
        """Asked at the end of every step, before what was measured at it is told."""

    def checkpoint(self, step: int, folder: Path) -> None:
        """A checkpoint is complete in `folder`, which lasts as long as this call: link or copy what is to be kept."""


class Unwatched:
    """Nobody follows: no checkpoints."""

    def stage(self, text: str) -> None:
        """Told to nobody."""

    def say(self, message: str, *, level: Level = "info", data: Mapping[str, Any] | None = None) -> None:
        """Told to nobody."""

    def metrics(self, measured: StepMetrics) -> None:
        """Told to nobody."""

    def after(self, step: int, total_steps: int) -> Order:
        """Never stops."""
        return "go"

    def checkpoint(self, step: int, folder: Path) -> None:
        """None is asked for."""
