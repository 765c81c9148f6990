"""What losses and gradients say of a training while it runs: that it overfits, or that it diverges. Pure.

A history is the Trainer's own: one entry for each log, `loss` and `grad_norm` at steps, `eval_loss` at evaluations.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

History = Sequence[Mapping[str, Any]]

RISE = 0.01
"""Share by which the validation loss must be above its lowest; less is noise."""
TURNS = 2
"""Evaluations in a row that must be above it."""
WINDOW = 8
"""Steps that are looked at together."""
WORSE, WORSE_NATS = 2.0, 0.5
"""Times its lowest mean of a window, and nats above it, that the training loss has grown to when it diverges."""
BURST = 20.0
"""Times the median of the steps before that a gradient's norm has when it explodes."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The loss on rows that are not learnt after `step`, and the mean loss on learnt ones since the one before."""

    step: int
    valid_loss: float
    train_loss: float


@dataclass(frozen=True, slots=True)
class Validation:
    """How a training did on rows that it did not learn; losses in nats per answer token.

    `kept_step` is the step whose weights were kept; `overfits_since` the step from which on only learnt rows got
    better, if there is one.
    """

    best_step: int
    best_loss: float
    last_loss: float
    kept_step: int
    stopped_early: bool
    overfits_since: int | None


def evaluations(history: History) -> list[Evaluated]:
    """All of a history, in order."""
    found: list[Evaluated] = []
    losses: list[float] = []
    for entry in history:
        if "loss" in entry:
            losses.append(float(entry["loss"]))
        elif "eval_loss" in entry and losses:
            found.append(Evaluated(int(entry["step"]), float(entry["eval_loss"]), fmean(losses)))
            losses = []
    return found


def best(found: Sequence[Evaluated]) -> Evaluated:
    """The first one with the lowest loss on rows that are not learnt."""
    return min(found, key=lambda one: one.valid_loss)


def overfits_since(found: Sequence[Evaluated]) -> int | None:
    """The step of the lowest validation loss, when it has risen since while the training loss fell; else None."""
    if not found:
        return None
    lowest = best(found)
    later = found[found.index(lowest) + 1 :]
    if len(later) < TURNS:
        return None
    risen = all(one.valid_loss > lowest.valid_loss * (1 + RISE) for one in later[-TURNS:])
    return lowest.step if risen and later[-1].train_loss < lowest.train_loss else None


def overfitting(found: Sequence[Evaluated], *, kept: bool) -> str | None:
    """One sentence when the last evaluation is the one that shows it; `kept` when the best weights will be kept."""
    since = overfits_since(found)
    if since is None or overfits_since(found[:-1]) is not None:
        return None
    lowest, last = best(found), found[-1]
    remedy = (
        "the weights of its lowest loss will be kept"
        if kept
        else "train for fewer steps, give more rows, lower lora.r or training.learning_rate, or set "
        "training.early_stopping_patience"
    )
    return (
        f"it overfits since step {since}: on rows that are not learnt the loss rose from {lowest.valid_loss:.3f} to "
        f"{last.valid_loss:.3f} at step {last.step}, on learnt ones it fell from {lowest.train_loss:.3f} to "
        f"{last.train_loss:.3f}; {remedy}"
    )


class WarningSigns:
    """Follows losses and gradient norms step by step, and says once of each kind what goes wrong."""

    def __init__(self, max_grad_norm: float) -> None:
        self._max_grad_norm = max_grad_norm
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._norms: deque[float] = deque(maxlen=WINDOW)
        self._lowest = math.inf
        self._told: set[str] = set()

    def after(self, step: int, loss: float, norm: float | None) -> list[str]:
        """Sentences that are new at this step; `norm` is the gradient's, before it was shortened."""
        found = {"diverges": self._diverges(step, loss), "explodes": self._explodes(step, norm)}
        new = [text for kind, text in found.items() if text and kind not in self._told]
        self._told |= {kind for kind, text in found.items() if text}
        return new

    def _diverges(self, step: int, loss: float) -> str | None:
        self._losses.append(loss)
        if len(self._losses) < WINDOW:
            return None
        lowest, mean = self._lowest, fmean(self._losses)
        self._lowest = min(lowest, mean)
        if mean <= max(WORSE * lowest, lowest + WORSE_NATS):
            return None
        return (
            f"the training loss grew from {lowest:.3f} to {mean:.3f} (means of {WINDOW} steps) until step {step}: it "
            "diverges; lower training.learning_rate, or raise training.warmup_ratio"
        )

    def _explodes(self, step: int, norm: float | None) -> str | None:
        if norm is None:
            return None
        if not math.isfinite(norm):
            return (
                f"the gradient of step {step} is no number: it explodes; lower training.learning_rate or lora.alpha, "
                "and look at the rows of this step"
            )
        usual = median(self._norms) if len(self._norms) == WINDOW else math.inf
        self._norms.append(norm)
        if norm <= max(BURST * usual, self._max_grad_norm):
            return None
        return (
            f"the gradient's norm is {norm:.3g} at step {step}, and was {usual:.3g} before: it explodes; lower "
            "training.learning_rate or training.max_grad_norm, and look at the rows of this step"
        )
