"""`train`: one run of TRL's trainer for the recipe's method and kind of tuning, watched and resumable."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from registry.training.sections import TrainingOptions
from trainer.errors import TrainingStopped
from trainer.methods.arguments import dpo_arguments, evaluate_every, in_bfloat16, sft_arguments
from trainer.methods.loading import LoadedBase, cast
from trainer.methods.results import Trained, round_as_saved, weights_digest
from trainer.methods.rows import Rows, dataset, packed
from trainer.methods.trainers import answer_trainer, preference_trainer
from trainer.methods.tuning import model_to_train, on_serving_base
from trainer.methods.validation import Follower, callback_of
from trainer.reporting import reporter_of
from trainer.watch import Unwatched, Watch

NOBODY = Unwatched()


def train(
    base: LoadedBase,
    rows: Rows,
    recipe: TrainingOptions,
    watch: Watch = NOBODY,
    resume_from: Path | None = None,
    start_from: Path | None = None,
) -> Trained:
    """Train once, from the checkpoint in `resume_from`, or from the adapter in `start_from`, or anew.

    Both may be given: a training that began with an adapter is resumed with the same one. The same base, rows, recipe
    and library versions give the same weights on the same CPU, however often it was stopped and resumed; on GPUs that
    has not been tried. After full tuning `base.model` is what was trained, and no base any more.

    Raises TrainingStopped when `watch` says so, TrainingRefused when nothing has changed or the training has diverged.
    """
    from transformers import set_seed

    set_seed(recipe.training.seed)
    with _room_beside(base, recipe):
        model = model_to_train(base, recipe, start_from)
        before = weights_digest(model)
        follower = Follower(watch, recipe.training, resume_from)
        with tempfile.TemporaryDirectory(prefix="switchyard-train-") as scratch:
            trainer = trainer_of(model, base.tokenizer, rows, recipe, (scratch, watch, follower))
            seconds = _run(trainer, follower, resume_from)
        state = trainer.state
        if state.global_step < state.max_steps and not follower.stopped_early:
            raise TrainingStopped(state.global_step)
        model = _finished(trainer.model, follower, before)
    if recipe.model.tuning == "qlora":
        model = on_serving_base(model, base).eval()
    model.config.use_cache = True
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]  # of resumed steps too
    return Trained(
        model=model,
        tokenizer=base.tokenizer,
        tuning=recipe.model.tuning,
        base_name=base.name,
        steps=int(state.global_step),
        seconds=seconds,
        train_loss=sum(losses) / len(losses),
        trained_tokens=int(state.num_input_tokens_seen),
        validation=follower.result(state.log_history),
    )


def trainer_of(
    model: Any, tokenizer: Any, rows: Rows, recipe: TrainingOptions, followed: tuple[str, Watch, Follower]
) -> Any:
    """TRL's trainer for the recipe's method, with a folder to write in, and who follows it."""
    from transformers import PrinterCallback

    scratch, watch, follower = followed
    given = {
        "model": model,
        "eval_dataset": dataset(rows.valid) if rows.valid else None,
        "processing_class": tokenizer,
        "callbacks": [callback_of(follower), reporter_of(watch)],
    }
    training, pairs = recipe.training, recipe.training.method == "dpo"
    table = packed(rows.train, training.max_length_tokens) if training.packing else dataset(rows.train)
    every = evaluate_every(recipe, len(table), len(rows.valid))
    arguments = (dpo_arguments if pairs else sft_arguments)(recipe, scratch, watch, every)
    kind = preference_trainer() if pairs else answer_trainer()
    trainer = kind(args=arguments, train_dataset=table, **given)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _run(trainer: Any, follower: Follower, resume_from: Path | None) -> float:
    """Train to the end, and return the seconds that it took. A checkpoint of the end is only loaded."""
    from transformers import TrainerState

    if resume_from is not None:
        state = TrainerState.load_from_json(str(resume_from / "trainer_state.json"))
        if state.global_step >= state.max_steps or follower.has_stopped(
            state.log_history
        ):  # the Trainer would make one more step
            trainer._load_from_checkpoint(str(resume_from))
            trainer.state = state
            return 0.0
    outcome = trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    return float(outcome.metrics["train_runtime"])


def _finished(model: Any, follower: Follower, before: str) -> Any:
    """The model with the weights that are kept, rounded as they are saved, and nothing else of the training in it."""
    follower.keep_best(model)
    round_as_saved(model, before)
    if "ref" in getattr(model, "peft_config", {}):  # what DPO compares an adapter that goes on learning with
        model.delete_adapter("ref")
    return model.eval()


@contextmanager
def _room_beside(base: LoadedBase, recipe: TrainingOptions) -> Iterator[None]:
    """Inside, the base is in the precision of the training, or out of the way of a copy in four bits."""
    import torch

    dtype, device = base.model.dtype, base.model.device
    try:
        if recipe.model.tuning == "qlora":
            base.model.to("cpu")
        elif recipe.model.tuning == "full" or not in_bfloat16(recipe):
            cast(base.model, torch.float32)
        yield
    finally:
        cast(base.model.to(device), dtype)
