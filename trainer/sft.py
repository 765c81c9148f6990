"""Supervised fine-tuning of a LoRA adapter with TRL and PEFT, on a GPU or on a plain CPU.

On the CPU everything is float32 (bfloat16 products die on machines that advertise AMX without granting it).
The saved adapter is bfloat16, and the weights in memory are rounded the same way, so that whatever is measured
afterwards is what will be served.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data.encode import Encoded
from trainer.errors import BaseModelError, RecipeError, TrainingRefused, TrainingStopped
from trainer.recipe import RecipeModel
from trainer.reporting import reporter_of
from trainer.watch import Unwatched, Watch

SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
NOBODY = Unwatched()
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True)
class LoadedBase:
    """A base model in memory. `name` is what adapters record as their base, never a path of this machine."""

    name: str
    model: Any
    tokenizer: Any


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a run: the PEFT model (adapter in place) and what the run cost.

    `base_name` is what the adapter records as its base; `trained_tokens` counts prompts too, padding not.
    """

    model: Any
    base_name: str
    steps: int
    seconds: float
    train_loss: float
    trained_tokens: int


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder, padding on the left. Raises BaseModelError."""
    from transformers import AutoTokenizer

    with _loading(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(folder: Path, tokenizer: Any = None) -> LoadedBase:
    """Load the model from a folder, float32 on the CPU, bfloat16 on a GPU, and the tokenizer if it is not given.

    Raises BaseModelError.
    """
    import torch
    from transformers import AutoModelForCausalLM

    cuda = torch.cuda.is_available()
    with _loading(folder):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16 if cuda else torch.float32)
    name, model = folder.resolve().name, model.to("cuda") if cuda else model
    return LoadedBase(name, model, load_tokenizer(folder) if tokenizer is None else tokenizer)


@contextmanager
def _loading(
    folder: Path,
    what: str = "the base model in",
    remedy: str = "give a folder that transformers can load",
) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of transformers, tokenizers, safetensors and OSError there is no nearer ancestor
        first = (str(error) or type(error).__name__).splitlines()[0][:300]
        raise BaseModelError(f"{what} {folder} does not load ({first}); {remedy}") from error


def check_targets(base: LoadedBase, recipe: RecipeModel) -> None:
    """Refuse modules that the base has not, which PEFT would say after the data is encoded. Raises RecipeError."""
    targets = recipe.lora.target_modules
    if targets == "all-linear":
        return
    import torch

    linears = {name for name, module in base.model.named_modules() if isinstance(module, torch.nn.Linear)}
    unknown = [target for target in targets if not any(f".{name}".endswith(f".{target}") for name in linears)]
    if unknown:
        known = sorted({name.rpartition(".")[2] for name in linears} - {"lm_head"})
        raise RecipeError(
            f"lora.target_modules names {unknown}, which are no linear layers of the base; it has {', '.join(known)}"
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """What a training reads: rows to learn, and rows to measure itself on meanwhile, which it never learns."""

    train: Sequence[Encoded]
    valid: Sequence[Encoded] = ()


def train(
    base: LoadedBase,
    rows: Rows,
    recipe: RecipeModel,
    watch: Watch = NOBODY,
    resume_from: Path | None = None,
    start_from: Path | None = None,
) -> Trained:
    """Train one adapter, from the checkpoint in `resume_from`, or from the adapter in `start_from`, or anew.

    The same base, rows, recipe and library versions give the same weights on the same machine, however often it was
    stopped and resumed. Raises TrainingStopped when `watch` says so, TrainingRefused when the adapter has not changed
    at all, or has diverged.
    """
    from transformers import PrinterCallback, set_seed
    from trl import SFTTrainer

    _check_built(recipe)
    set_seed(recipe.training.seed)
    base.model.config.use_cache = False
    with tempfile.TemporaryDirectory(prefix="switchyard-train-") as scratch:
        trainer = SFTTrainer(
            model=_begun(base, start_from),
            args=_arguments(recipe, scratch),
            train_dataset=_dataset(rows.train),
            processing_class=base.tokenizer,
            peft_config=None if start_from else _lora_config(recipe),
            callbacks=[reporter_of(watch)],
        )
        trainer.remove_callback(PrinterCallback)
        seconds = _run(trainer, resume_from)
    if trainer.state.global_step < trainer.state.max_steps:
        raise TrainingStopped(trainer.state.global_step)
    model = trainer.model.eval()
    model.config.use_cache = True
    _round_to_bfloat16(model)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]  # of resumed steps too
    return Trained(
        model=model,
        base_name=base.name,
        steps=int(trainer.state.global_step),
        seconds=seconds,
        train_loss=sum(losses) / len(losses),
        trained_tokens=int(trainer.state.num_input_tokens_seen),
    )


def _check_built(recipe: RecipeModel) -> None:
    training = recipe.training
    asked = {
        f'model.tuning = "{recipe.model.tuning}"': recipe.model.tuning != "lora",
        "model.continue_from": recipe.model.continue_from is not None,
        f'training.method = "{training.method}"': training.method != "sft",
        "training.packing": training.packing,
        f'training.optimizer = "{training.optimizer}"': training.optimizer != "adamw",
        f'training.precision = "{training.precision}"': training.precision != "auto",
        "training.early_stopping_patience": training.early_stopping_patience is not None,
    }
    if missing := [name for name, wanted in asked.items() if wanted]:
        raise RecipeError(f"{', '.join(missing)}: this trainer does not do that yet; leave it out")


def _run(trainer: Any, resume_from: Path | None) -> float:
    """Train to the end, and return the seconds that it took. A checkpoint of the last step is only loaded."""
    from peft import load_peft_weights, set_peft_model_state_dict
    from transformers import TrainerState

    if resume_from is not None:
        state = TrainerState.load_from_json(str(resume_from / "trainer_state.json"))
        if state.global_step >= state.max_steps:  # the Trainer would make one more step
            set_peft_model_state_dict(trainer.model, load_peft_weights(str(resume_from)))
            trainer.state = state
            return 0.0
    outcome = trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    return float(outcome.metrics["train_runtime"])


def _begun(base: LoadedBase, start_from: Path | None) -> Any:
    """The model to train: the base, or the base with an adapter on it that goes on learning. Raises BaseModelError."""
    if start_from is None:
        return base.model
    from peft import PeftModel

    with _loading(start_from, "the adapter to go on from in", "give another version"):
        return PeftModel.from_pretrained(base.model, start_from, is_trainable=True)


def save_adapter(trained: Trained, folder: Path) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors` (bfloat16) and nothing else; byte-stable."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(trained.model, save_embedding_layers=False)
    tensors = {name: tensor.detach().to("cpu", torch.bfloat16).contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / ADAPTER_FILES[1], metadata={"format": "pt"})
    config = trained.model.peft_config["default"].to_dict()
    config |= {"inference_mode": True, "base_model_name_or_path": trained.base_name}
    (folder / ADAPTER_FILES[1]).chmod(0o644)
    (folder / ADAPTER_FILES[0]).write_text(json.dumps(_plain(config), indent=2, sort_keys=True) + "\n", "utf-8")


def _arguments(recipe: RecipeModel, scratch: str) -> Any:
    import torch
    from trl import SFTConfig

    cuda = torch.cuda.is_available()
    training = recipe.training
    return SFTConfig(
        output_dir=scratch,
        max_steps=training.max_steps or -1,
        num_train_epochs=training.epochs or 1.0,
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        learning_rate=recipe.learning_rate,
        warmup_steps=training.warmup_ratio,  # a fraction below 1 is a ratio of all steps
        lr_scheduler_type=SCHEDULES[training.schedule],
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        seed=training.seed,
        data_seed=training.seed,
        bf16=cuda,
        use_cpu=not cuda,
        gradient_checkpointing=training.gradient_checkpointing,
        dataloader_pin_memory=cuda,
        max_length=None,  # rows were cut or refused when they were encoded
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_steps=1,
        logging_nan_inf_filter=False,  # a loss that is no number ends the training
        include_num_input_tokens_seen="non_padding",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def _lora_config(recipe: RecipeModel) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=recipe.lora.r,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        use_rslora=recipe.lora.rslora,
        target_modules=recipe.lora.target_modules,
        bias="none",
        task_type="CAUSAL_LM",
    )


def _dataset(rows: Sequence[Encoded]) -> Any:
    from datasets import Dataset

    return Dataset.from_list([{"input_ids": row.input_ids, "labels": row.labels} for row in rows])


def _round_to_bfloat16(model: Any) -> None:
    import torch

    changed = False
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.copy_(weight.to(torch.bfloat16))
                if not bool(weight.isfinite().all()):
                    raise TrainingRefused(
                        f"training diverged: {name} is no number any more; lower training.learning_rate or lora.alpha"
                    )
                changed = changed or ("lora_B" in name and bool(weight.any()))
    if not changed:
        raise TrainingRefused(
            "training left every lora_B at zero, so the adapter does nothing; "
            "raise training.learning_rate or the number of steps"
        )


def _plain(value: Any) -> Any:
    """JSON-ready copy with sets as sorted lists, so that equal configs are equal bytes."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return value
