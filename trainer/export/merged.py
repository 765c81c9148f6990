"""The adapter's updates added into its base: one model, as a folder that anything reads."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from registry.bases.files import TOKENIZER_FILES
from trainer.errors import TrainerError
from trainer.export.checking import Check, compare, texts_for
from trainer.forward import token_logprobs
from trainer.methods.loading import load_base, loading
from trainer.probes import Text

Dtype = Literal["bfloat16", "float32"]


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged model in a folder; `meant` is what the adapter on its base says of `texts`."""

    texts: list[Text]
    meant: list[list[float]]
    check: Check


def write_merged(base_folder: Path, version_folder: Path, out: Path, dtype: Dtype) -> Merged:
    """Write the model and the base's tokenizer into `out`, and read it back to compare it.

    Raises BaseModelError, and TrainerError when what is read back is not what was meant.
    """
    import torch
    from peft import PeftModel

    base = load_base(base_folder)
    with loading(version_folder, "the adapter in", "publish it again"):
        model = PeftModel.from_pretrained(base.model, version_folder).eval()
    texts = texts_for(version_folder, base.tokenizer)
    meant = token_logprobs(model, texts)
    merged = model.merge_and_unload(safe_merge=True).to(getattr(torch, dtype))
    merged.save_pretrained(out)
    del base, model, merged
    copy_tokenizer(base_folder, out)
    return Merged(texts, meant, compare(meant, _read_back(out), texts, dtype))


def copy_tokenizer(base_folder: Path, out: Path) -> None:
    """The very files of the base: what they say of texts must not change. Raises TrainerError when there are none."""
    found = [base_folder / name for name in TOKENIZER_FILES if (base_folder / name).is_file()]
    if not found:
        raise TrainerError(f"{base_folder} has no tokenizer; give the base's folder with --base")
    for file in found:
        shutil.copyfile(file, out / file.name)


def _read_back(folder: Path) -> Any:
    return load_base(folder).model.eval()
