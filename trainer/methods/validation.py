"""The loss on rows that are not learnt, followed while a training runs: warnings, and the best weights kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from registry.training.sections import TrainingOptions
from trainer.methods.signs import Course, Validation, best, evaluations, overfits_since, overfitting
from trainer.watch import Watch

BEST_FILE = "best_weights.safetensors"
"""In a checkpoint, beside what the Trainer keeps there."""


def follower_of(watch: Watch, recipe: TrainingOptions, resume_from: Path | None) -> Any:
    """A callback of the Trainer. What it needs to know after a resumption is in the Trainer's history and a file.

    With `training.early_stopping_patience` it stops the training, and `keep_best` puts the best weights in place.
    """
    from safetensors.torch import load_file, save_file
    from transformers import TrainerCallback

    patience = recipe.training.early_stopping_patience

    class Follower(TrainerCallback):
        def __init__(self) -> None:
            self.stopped_early = False
            self._course = Course(recipe.training.max_grad_norm)
            self._best: dict[str, Any] = {}
            if resume_from is not None and (resume_from / BEST_FILE).is_file():
                self._best = load_file(resume_from / BEST_FILE)

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            for entry in state.log_history:  # of the training that is resumed
                self._after(entry)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            last = args.eval_strategy != "no" and state.global_step >= state.max_steps
            control.should_evaluate = control.should_evaluate or last

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            for sentence in self._after(state.log_history[-1]):
                watch.say(sentence, level="warn")

        def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            found = evaluations(state.log_history)
            if sentence := overfitting(found, kept=patience is not None):
                watch.say(sentence, level="warn")
            if patience is not None and found and best(found) is found[-1]:
                self._best = {name: weight.detach().cpu().clone() for name, weight in _trainable(model)}
            elif self.has_stopped(state):
                control.should_training_stop = True

        def has_stopped(self, state: Any) -> bool:
            """Whether the training with this history is over before its last step; remembered in `stopped_early`."""
            found = evaluations(state.log_history)
            if patience is not None and found:
                self.stopped_early = len(found) - 1 - found.index(best(found)) >= patience
            return self.stopped_early

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self._best:
                save_file(self._best, Path(args.output_dir) / f"checkpoint-{state.global_step}" / BEST_FILE)

        def keep_best(self, model: Any) -> None:
            """Put the weights of the lowest validation loss in place, if they were kept."""
            for name, weight in _trainable(model):
                if name in self._best:
                    weight.data.copy_(self._best[name])

        def result(self, state: Any) -> Validation | None:
            """What the evaluations of the whole training say."""
            found = evaluations(state.log_history)
            if not found:
                return None
            lowest, last = best(found), found[-1]
            kept = last.step if patience is None else lowest.step
            return Validation(
                lowest.step, lowest.valid_loss, last.valid_loss, kept, self.stopped_early, overfits_since(found)
            )

        def _after(self, entry: Any) -> list[str]:
            if "loss" not in entry:
                return []
            return self._course.after(int(entry["step"]), float(entry["loss"]), entry.get("grad_norm"))

    return Follower()


def _trainable(model: Any) -> list[tuple[str, Any]]:
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
