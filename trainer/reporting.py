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
    """How fast it goes: since the last step for tokens, since it began for the time that is left."""

    def __init__(self, step: int, tokens: int) -> None:
        self._first_step = step
        self._tokens = tokens
        self._began_s = self._since_s = time.monotonic()

    def after(self, step: int, total_steps: int, tokens: int) -> dict[str, Any]:
        """`tokens` are all until now."""
        now = time.monotonic()
        elapsed_s, made = now - self._since_s, tokens - self._tokens
        self._tokens, self._since_s = tokens, now
        found: dict[str, Any] = {"trained_tokens": tokens}
        if elapsed_s > 0:
            found["tokens_per_second"] = made / elapsed_s
        if step > self._first_step:
            found["seconds_left"] = (now - self._began_s) / (step - self._first_step) * (total_steps - step)
        return found


def reporter_of(watch: Watch) -> Any:
    """The callback, which passes on what `watch` orders too."""
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):
        def __init__(self) -> None:
            self._pace = Pace(0, 0)

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._pace = Pace(state.global_step, int(state.num_input_tokens_seen))

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            order = watch.after(state.global_step, state.max_steps)
            control.should_save = control.should_save or order != "go"
            control.should_training_stop = control.should_training_stop or order == "stop"

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            found: dict[str, Any] = {
                MEASURED[name]: float(value) for name, value in (logs or {}).items() if name in MEASURED
            }
            loss_is_finite = math.isfinite(found.get("train_loss", 0.0))
            found = {name: value for name, value in found.items() if math.isfinite(value)}  # what is none is not told
            if not loss_is_finite:
                raise TrainingRefused(
                    f"training diverged: the loss of step {state.global_step} is no number; "
                    "lower training.learning_rate or lora.alpha"
                )
            if "train_loss" in found:
                found |= self._pace.after(state.global_step, state.max_steps, int(state.num_input_tokens_seen))
            if found:
                watch.metrics(StepMetrics(state.global_step, state.max_steps, **found))

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            watch.checkpoint(state.global_step, Path(args.output_dir) / f"checkpoint-{state.global_step}")

    return Reporter()
