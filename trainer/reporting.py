"""A `Watch` as a callback of transformers' Trainer, the same for every method that is made of one."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from trainer.errors import TrainingRefused
from trainer.watch import StepMetrics, Watch

MEASURED = {
    "loss": "train_loss",
    "mean_token_accuracy": "train_mean_token_accuracy",
    "eval_loss": "full_valid_loss",
    "eval_mean_token_accuracy": "full_valid_mean_token_accuracy",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
}
"""What the Trainer calls a measurement, and what it is here."""


class Pace:
    """Tokens per second since the last time it was asked."""

    def __init__(self) -> None:
        self._tokens: int | None = None
        self._since_s = time.monotonic()

    def since(self, tokens: int) -> float | None:
        """`tokens` are all until now; `None` when there is nothing to compare them with."""
        before, now = self._tokens, time.monotonic()
        elapsed_s, self._tokens, self._since_s = now - self._since_s, tokens, now
        return None if before is None or elapsed_s <= 0 else (tokens - before) / elapsed_s


def reporter_of(watch: Watch) -> Any:
    """The callback, which passes on what `watch` orders too."""
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):
        def __init__(self) -> None:
            self._pace = Pace()

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._pace.since(int(state.num_input_tokens_seen))

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            order = watch.after(state.global_step, state.max_steps)
            control.should_save = control.should_save or order != "go"
            control.should_training_stop = control.should_training_stop or order == "stop"

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            found: dict[str, Any] = {
                MEASURED[name]: float(value) for name, value in (logs or {}).items() if name in MEASURED
            }
            if not math.isfinite(found.get("train_loss", 0.0)):
                raise TrainingRefused(
                    f"training diverged: the loss of step {state.global_step} is no number; "
                    "lower training.learning_rate or lora.alpha"
                )
            if "train_loss" in found:
                tokens = int(state.num_input_tokens_seen)
                found |= {"tokens_per_second": self._pace.since(tokens), "trained_tokens": tokens}
            if found:
                watch.metrics(StepMetrics(state.global_step, state.max_steps, **found))

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            watch.checkpoint(state.global_step, Path(args.output_dir) / f"checkpoint-{state.global_step}")

    return Reporter()
