"""One process of a training that `accelerate launch` has started: `python -m trainer.methods.launched FOLDER`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from registry.training.sections import TrainingOptions
from trainer.jobs.lines import Event, JobMouth, Line, Measured
from trainer.methods.launching import read_rows
from trainer.methods.loading import load_base
from trainer.methods.results import weights_digest
from trainer.methods.rows import Rows
from trainer.methods.training import trainer_of
from trainer.methods.tuning import model_to_train
from trainer.methods.validation import Follower
from trainer.watch import Level, StepMetrics, Unwatched


class LineWatch(Unwatched):
    """Says everything on stdout, in the first process only."""

    def __init__(self) -> None:
        self._mouth = JobMouth()
        self._first = os.environ.get("RANK", "0") == "0"

    def say(self, message: str, *, level: Level = "info", data: Mapping[str, Any] | None = None) -> None:
        """A line."""
        self._tell(Event(message, level))

    def metrics(self, measured: StepMetrics) -> None:
        """A line."""
        self._tell(Measured(measured))

    def _tell(self, said: Line) -> None:
        if self._first:
            self._mouth.say(said)


def main(folder: Path) -> None:
    """Train, and leave what was made in the folder."""
    import torch
    from transformers import set_seed

    watch = LineWatch()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    task = json.loads((folder / "task.json").read_bytes())
    recipe = TrainingOptions.model_validate(task["recipe"])
    set_seed(recipe.training.seed)
    base = load_base(Path(task["base"]))
    model = model_to_train(base, recipe, Path(task["start"]) if task["start"] else None)
    before = weights_digest(model)
    follower = Follower(watch, recipe.training, None)
    rows = Rows(read_rows(task["train"]), read_rows(task["valid"]))
    trainer = trainer_of(model, base.tokenizer, rows, recipe, (str(folder / "scratch"), watch, follower))
    outcome = trainer.train()
    trainer.save_model(str(folder / "made"))  # puts together what processes hold parts of
    if trainer.is_world_process_zero():
        found, losses = follower.result(trainer.state.log_history), _losses(trainer)
        made = {
            "before": before,
            "steps": int(trainer.state.global_step),
            "seconds": float(outcome.metrics["train_runtime"]),
            "train_loss": sum(losses) / len(losses),
            "trained_tokens": int(trainer.state.num_input_tokens_seen),
            "validation": asdict(found) if found else None,
        }
        (folder / "made.json").write_text(json.dumps(made), "utf-8")


def _losses(trainer: Any) -> list[float]:
    return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
