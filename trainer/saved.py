"""A trained adapter on disk: saved as soon as it is trained, and taken up again when what follows failed."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry.adapters.effect_proof import EFFECT_PROOF_FILE
from registry.training.sections import Tuning
from trainer.data.sets import Sets
from trainer.errors import RecipeError, TrainerError
from trainer.methods.loading import LoadedBase, load_base, loading
from trainer.methods.results import Trained, save_trained
from trainer.methods.signs import Validation
from trainer.recipe import Recipe

RECORD_FILE = "training.json"
DECIDES_LATER = {"heldout", "max_seen_share"}
"""Keys of `[data]` that do not decide the weights."""

DECIDING_SECTIONS = ("model", "lora", "prompt", "training", "dpo")


@dataclass(frozen=True, slots=True)
class SavedTraining:
    """What a training cost, and the digest of everything that decided its weights."""

    made_of: str
    tuning: Tuning
    steps: int
    seconds: float
    train_loss: float
    trained_tokens: int
    validation: dict[str, Any] | None


def made_of(recipe: Recipe, sets: Sets, base: LoadedBase) -> str:
    """Digest (hex) of what decides the weights; evaluation and held-out rows do not."""
    model = recipe.model
    config = recipe.accelerate_config
    facts: dict[str, Any] = {
        "base": base.name,
        "train_sha256": sets.train.digest,
        "data": model.data.model_dump(mode="json", exclude=DECIDES_LATER | {"train"}),
        "hold_out": asdict(sets.hold_out) if sets.hold_out else None,
        "launch": config.read_text("utf-8") if config else None,
        **{name: getattr(model, name).model_dump(mode="json") for name in DECIDING_SECTIONS},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def check_writable(folder: Path) -> None:
    """Fail before the training when the adapter could not be saved after it. Raises TrainerError."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise TrainerError(f"the adapter could not be saved in {folder}: {place} is no folder to write to; give --out")


def save(trained: Trained, folder: Path, digest: str) -> Path:
    """Write adapter and record, and return where: in a temporary folder when `folder` takes no files any more."""
    try:
        _write(trained, folder, digest)
    except Exception:  # of OSError and safetensors' own there is no nearer ancestor, and the training must not be lost
        folder = Path(tempfile.mkdtemp(prefix="switchyard-trained-"))
        _write(trained, folder, digest)
    return folder


def _write(trained: Trained, folder: Path, digest: str) -> None:
    for name in (EFFECT_PROOF_FILE, RECORD_FILE):  # one that lies there is of another adapter
        (folder / name).unlink(missing_ok=True)
    save_trained(trained, folder)
    record = SavedTraining(
        digest,
        trained.tuning,
        trained.steps,
        trained.seconds,
        trained.train_loss,
        trained.trained_tokens,
        asdict(trained.validation) if trained.validation else None,
    )
    (folder / RECORD_FILE).write_text(json.dumps(asdict(record), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load(base: LoadedBase, folder: Path, digest: str) -> Trained:
    """What `save` wrote. Raises RecipeError when it is of another recipe, BaseModelError when it does not load."""
    try:
        record = SavedTraining(**json.loads((folder / RECORD_FILE).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise RecipeError(f"{folder} holds no adapter that `switchyard train` saved ({error})") from error
    if record.made_of != digest:
        raise RecipeError(
            f"{folder} was trained from another recipe, other rows or another base; give what it was trained from "
            "([evaluation], data.heldout and data.max_seen_share may differ), or train anew without --trained"
        )
    from peft import PeftModel

    if record.tuning == "full":
        model = load_base(folder, base.tokenizer).model.eval()
    else:
        with loading(folder, "the adapter in", "train anew"):
            model = PeftModel.from_pretrained(base.model, folder).eval()
    return Trained(
        model=model,
        tokenizer=base.tokenizer,
        tuning=record.tuning,
        base_name=base.name,
        steps=record.steps,
        seconds=record.seconds,
        train_loss=record.train_loss,
        trained_tokens=record.trained_tokens,
        validation=Validation(**record.validation) if record.validation else None,
    )


def import_command(recipe: Recipe, folder: Path, base: str) -> str:
    """What to type to publish what is in `folder` without a proof."""
    section = recipe.model.adapter
    target = f"{section.tenant}/{section.name}"
    return shlex.join(["switchyard", "adapters", "import", str(folder), "--to", target, "--base", base])


def command_that_goes_on(recipe_file: Path, folder: Path, base: str | None, *, publish: bool) -> str:
    """What to type to evaluate, prove and publish what is in `folder`."""
    words = ["switchyard", "train", str(recipe_file), "--trained", str(folder)]
    return shlex.join([*words, *(["--base", base] if base else []), *([] if publish else ["--no-publish"])])
