"""Formats of other programs, told by how they name their tensors: PEFT's alone is served."""

from __future__ import annotations

import re
from collections.abc import Iterable

from registry.adapters.version_files import WEIGHTS_FILE
from registry.errors import Finding
from registry.storage.safetensors_header import clip

OURS = re.compile(r".*\.lora_(?:[AB]|embedding_[AB])(?:\..*)?")
FOREIGN = {
    "kohya's sd-scripts": re.compile(r"lora_(?:te[0-9]*|unet|transformer)_.*|.*\.(?:lora_down|lora_up)\.weight"),
    "LyCORIS (LoHa or LoKr)": re.compile(r".*\.(?:hada|lokr)_w[0-9](?:_[ab])?"),
    "MLX or torchtune": re.compile(r".*\.lora_[ab](?:\.weight)?"),
    "diffusers before PEFT": re.compile(r".*(?:_lora|lora_linear_layer)\.(?:down|up)\.weight"),
    "Megatron or NeMo": re.compile(r".*\.linear_(?:in|out)\.weight"),
}


def foreign_format(names: Iterable[str]) -> Finding | None:
    """The reason to refuse a file in which no tensor is called as PEFT does, and one as another program does."""
    known = [*names]
    if any(OURS.fullmatch(name) for name in known):
        return None
    for written_by, rule in FOREIGN.items():
        found = next((name for name in known if rule.fullmatch(name)), None)
        if found is not None:
            expected = "PEFT's format (base_model.model.<module>.lora_A.weight): save or convert it with PEFT"
            return Finding("format_foreign", WEIGHTS_FILE, f"names of {written_by}", expected, clip(found, 200))
    return None
