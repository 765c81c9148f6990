"""A recipe in the words of TRL's trainers."""

from __future__ import annotations

import math
from typing import Any

from registry.training.sections import TrainingOptions
from trainer.tracking import run_name, trackers
from trainer.watch import Watch

SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
EVALUATIONS = 10
"""On the rows that are not learnt, in a run at most, where the recipe does not say how often."""
LOOKED_AT = 0.3
"""Rows looked at by each row learnt, at most then. Looking at one costs a third of learning it."""


def sft_arguments(recipe: TrainingOptions, scratch: str, watch: Watch, evaluate_every: int | None) -> Any:
    """For an SFTTrainer that takes rows as they are encoded."""
    from trl import SFTConfig

    packing = recipe.training.packing
    return SFTConfig(
        **_common(recipe, scratch, watch, evaluate_every),
        # Rows were cut or refused when they were encoded, and are packed before they come here.
        max_length=recipe.training.max_length_tokens if packing else None,
        packing=packing,
        eval_packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


def dpo_arguments(recipe: TrainingOptions, scratch: str, watch: Watch, evaluate_every: int | None) -> Any:
    """For a DPOTrainer that takes pairs as they are encoded."""
    from trl import DPOConfig

    return DPOConfig(
        **_common(recipe, scratch, watch, evaluate_every),
        max_length=None,
        beta=recipe.dpo.beta,
        loss_type=[recipe.dpo.loss],
    )


def evaluate_every(recipe: TrainingOptions, learnt: int, valid: int) -> int | None:
    """Steps between two looks at `valid` rows while `learnt` ones are trained on; None when there are none to look at.

    Where the recipe does not say it, so often that it takes about a tenth of the time, but ten times at most.
    """
    training = recipe.training
    if valid == 0 or training.eval_steps is not None:
        return training.eval_steps if valid else None
    rows_a_step = training.batch_size * training.gradient_accumulation_steps
    steps = training.max_steps or max(1, math.ceil((training.epochs or 1) * learnt / rows_a_step))
    times = min(EVALUATIONS, max(1, int(LOOKED_AT * steps * rows_a_step / valid)))
    return math.ceil(steps / times)


def in_bfloat16(recipe: TrainingOptions) -> bool:
    """Whether products are taken in bfloat16."""
    import torch

    precision = recipe.training.precision
    return torch.cuda.is_available() if precision == "auto" else precision == "bfloat16"


def _common(recipe: TrainingOptions, scratch: str, watch: Watch, evaluate_every: int | None) -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    training = recipe.training
    return {
        "output_dir": scratch,
        "max_steps": training.max_steps or -1,
        "num_train_epochs": training.epochs or 1.0,
        "per_device_train_batch_size": training.batch_size,
        "per_device_eval_batch_size": training.batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "learning_rate": recipe.learning_rate,
        "warmup_steps": training.warmup_ratio,  # a fraction below 1 is a ratio of all steps
        "lr_scheduler_type": SCHEDULES[training.schedule],
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "optim": _optimizer(recipe, watch, cuda=cuda),
        "seed": training.seed,
        "data_seed": training.seed,
        "bf16": in_bfloat16(recipe),
        "use_cpu": not cuda,
        "gradient_checkpointing": training.gradient_checkpointing,
        "dataloader_pin_memory": cuda,
        "eval_strategy": "steps" if evaluate_every else "no",
        "eval_steps": evaluate_every,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is no number ends the training
        "include_num_input_tokens_seen": "non_padding",
        "save_strategy": "no",
        "report_to": trackers(recipe) or "none",
        "run_name": run_name(recipe),
        "disable_tqdm": True,
    }


def _optimizer(recipe: TrainingOptions, watch: Watch, *, cuda: bool) -> str:
    if recipe.training.optimizer == "adamw":
        return "adamw_torch"
    if cuda:
        return "paged_adamw_8bit"
    watch.say('training.optimizer = "paged_adamw_8bit" needs a GPU; adamw is used instead', level="warn")
    return "adamw_torch"
