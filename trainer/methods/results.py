"""What a training made: rounded as it will be served, and written byte for byte the same each time.

What is saved is bfloat16, and the weights in memory are rounded the same way, so that whatever is measured afterwards
is what will be served.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.bases.fingerprint import write_fingerprint
from registry.training.sections import Tuning
from trainer.errors import TrainingRefused
from trainer.fingerprint import take_fingerprint
from trainer.methods.loading import cast
from trainer.methods.signs import Validation

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a run: the model with what was trained in place (a PEFT model, or a base of its own after full
    tuning), and what the run cost.

    `base_name` is what an adapter records as its base; `trained_tokens` counts prompts too, padding not. `validation`
    is None where no rows were given to validate on.
    """

    model: Any
    tokenizer: Any
    tuning: Tuning
    base_name: str
    steps: int
    seconds: float
    train_loss: float
    trained_tokens: int
    validation: Validation | None = None


def weights_digest(model: Any) -> str:
    """Digest (hex) of all weights that are trained, as they would be saved."""
    import torch

    digest = hashlib.sha256()
    for name, weight in _trainable(model):
        digest.update(name.encode())
        digest.update(weight.detach().to("cpu", torch.bfloat16).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def round_as_saved(model: Any, before: str) -> None:
    """Round what was trained to bfloat16. Raises TrainingRefused when it is as it was, or no number any more.

    `before` is the digest of the weights when the training began.
    """
    import torch

    with torch.no_grad():
        for name, weight in _trainable(model):
            weight.copy_(weight.to(torch.bfloat16))
            if not bool(weight.isfinite().all()):
                raise TrainingRefused(
                    f"training diverged: {name} is no number any more; lower training.learning_rate or lora.alpha"
                )
    if weights_digest(model) == before:
        raise TrainingRefused(
            "training left every weight as it was, so what it made does nothing; "
            "raise training.learning_rate or the number of steps"
        )


def save_trained(trained: Trained, folder: Path) -> None:
    """Write the adapter alone, or after full tuning a whole base: the folder of a model and its tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    if trained.tuning == "full":
        _save_base(trained, folder)
    else:
        _save_adapter(trained, folder)


def _save_adapter(trained: Trained, folder: Path) -> None:
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    state = get_peft_model_state_dict(trained.model, save_embedding_layers=False)
    tensors = {name: tensor.detach().to("cpu", torch.bfloat16).contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / ADAPTER_FILES[1], metadata={"format": "pt"})
    config = trained.model.peft_config["default"].to_dict()
    config |= {"inference_mode": True, "base_model_name_or_path": trained.base_name}
    (folder / ADAPTER_FILES[1]).chmod(0o644)
    (folder / ADAPTER_FILES[0]).write_text(json.dumps(_plain(config), indent=2, sort_keys=True) + "\n", "utf-8")


def _save_base(trained: Trained, folder: Path) -> None:
    import torch

    model, dtype = trained.model, trained.model.dtype
    cast(model, torch.bfloat16)
    model.save_pretrained(folder)
    trained.tokenizer.save_pretrained(folder)
    cast(model, torch.float32)
    write_fingerprint(take_fingerprint(model, trained.tokenizer), folder)
    cast(model, dtype)
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors writes for the owner only; engines may run as another user


def _trainable(model: Any) -> list[tuple[str, Any]]:
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]


def _plain(value: Any) -> Any:
    """JSON-ready copy with sets as sorted lists, so that equal configs are equal bytes."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return value
