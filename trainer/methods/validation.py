"""The loss on rows that are not learnt, followed while a training runs: warnings, and the best weights kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry.training.sections import TrainingSection
from trainer.methods.signs import History, Validation, WarningSigns, best, evaluations, overfits_since, overfitting
from trainer.watch import Watch

BEST_FILE = "best_weights.safetensors"
"""In a checkpoint, beside what the Trainer keeps there."""


class Follower:
    """What a training must remember beside its weights. After a resumption it is in the Trainer's history and a file.

    With `training.early_stopping_patience` the weights of the lowest validation loss are remembered too.
    """

    def __init__(self, watch: Watch, section: TrainingSection, resume_from: Path | None) -> None:
        self.stopped_early = False
        self._watch = watch
        self._patience = section.early_stopping_patience
        self._signs = WarningSigns(section.max_grad_norm)
        self._best: dict[str, Any] = {}
        if resume_from is not None and (resume_from / BEST_FILE).is_file():
            from safetensors.torch import load_file

            self._best = load_file(resume_from / BEST_FILE)

    def remember(self, history: History) -> None:
        """Take up the history of the training that is resumed, of which all has been said."""
        for entry in history:
            self._after(entry)

    def step(self, history: History) -> None:
        """The last entry of the history is new."""
        for sentence in self._after(history[-1]):
            self._watch.say(sentence, level="warn")

    def evaluated(self, history: History, model: Any) -> bool:
        """The last entry is a new evaluation; returns whether the training is over."""
        found = evaluations(history)
        if sentence := overfitting(found, kept=self._patience is not None):
            self._watch.say(sentence, level="warn")
        if self._patience is not None and found and best(found) is found[-1]:
            self._best = {name: weight.detach().cpu().clone() for name, weight in _trainable(model)}
        return self.has_stopped(history)

    def has_stopped(self, history: History) -> bool:
        """Whether the training with this history is over before its last step; remembered in `stopped_early`."""
        found = evaluations(history)
        if self._patience is not None and found:
            self.stopped_early = len(found) - 1 - found.index(best(found)) >= self._patience
        return self.stopped_early

    def save(self, checkpoint: Path) -> None:
        """Add what is remembered to a checkpoint."""
        from safetensors.torch import save_file

        if self._best:
            save_file(self._best, checkpoint / BEST_FILE)

    def keep_best(self, model: Any) -> None:
        """Put the weights of the lowest validation loss in place, if they were kept."""
        for name, weight in _trainable(model):
            if name in self._best:
                weight.data.copy_(self._best[name])

    def result(self, history: History) -> Validation | None:
        """What the evaluations of the whole training say."""
        found = evaluations(history)
        if not found:
            return None
        lowest, last = best(found), found[-1]
        kept = last.step if self._patience is None else lowest.step
        return Validation(
            lowest.step, lowest.valid_loss, last.valid_loss, kept, self.stopped_early, overfits_since(found)
        )

    def _after(self, entry: Any) -> list[str]:
        if "loss" not in entry:
            return []
        return self._signs.after(int(entry["step"]), float(entry["loss"]), entry.get("grad_norm"))


def callback_of(follower: Follower) -> Any:
    """A follower as a callback of the Trainer. There is an evaluation after the last step too."""
    from transformers import TrainerCallback

    class Following(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            follower.remember(state.log_history)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            last = args.eval_strategy != "no" and state.global_step >= state.max_steps
            control.should_evaluate = control.should_evaluate or last

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            follower.step(state.log_history)

        def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if follower.evaluated(state.log_history, model):
                control.should_training_stop = True

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            follower.save(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    return Following()


def _trainable(model: Any) -> Iterator[tuple[str, Any]]:
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
