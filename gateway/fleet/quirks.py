"""Known defects of engines by version and platform, and the cure that each needs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from registry.base_model import BaseSpec

Platform = Literal["cpu", "gpu"]


@dataclass(frozen=True, slots=True)
class Quirks:
    """What the fleet must do differently for one engine."""

    refused: str | None
    """Why this engine may not serve at all."""
    base_needs_zero_adapter: bool
    """vLLM ≤ 0.32 on CPU gives base-model tokens in a mixed batch the last slot's adapter: serve the base through an
    all-zero adapter, so that every token of every batch has an adapter of its own."""


def quirks_of(version: str, platform: Platform) -> Quirks:
    """The quirks of a vLLM version; a version that cannot be read is taken for a new one."""
    found = re.match(r"(\d+)\.(\d+)", version)
    number = (int(found[1]), int(found[2])) if found else (999, 0)
    refused = None
    if number < (0, 31):
        refused = (
            f"vLLM {version} scales rank patterns wrongly and keys its prefix cache by name only; use 0.32 or newer"
        )
    return Quirks(refused, base_needs_zero_adapter=platform == "cpu" and number < (0, 33))


def write_zero_adapter(folder: Path, base: BaseSpec) -> Path:
    """An adapter of rank 1 on one module whose product is zero: it changes nothing. Returns its folder."""
    if folder.is_dir():
        return folder
    module, (out_features, in_features) = next(
        (name, shape) for name, shape in sorted(base.linears.items()) if name.endswith("q_proj")
    )
    staging = folder.with_name(folder.name + ".staging")
    staging.mkdir(parents=True, exist_ok=True)
    prefix = f"base_model.model.{module}"
    tensors = {f"{prefix}.lora_A.weight": (1, in_features), f"{prefix}.lora_B.weight": (out_features, 1)}
    (staging / "adapter_model.safetensors").write_bytes(_safetensors_of_zeros(tensors))
    config = {
        "peft_type": "LORA",
        "r": 1,
        "lora_alpha": 1,
        "target_modules": [module.rpartition(".")[2]],
        "bias": "none",
    }
    (staging / "adapter_config.json").write_text(json.dumps(config))
    staging.rename(folder)
    return folder


def _safetensors_of_zeros(shapes: dict[str, tuple[int, int]]) -> bytes:
    """The safetensors format: header length (8 bytes, little-endian), JSON header, data. float32 throughout."""
    header: dict[str, object] = {}
    end = 0
    for name, (rows, columns) in shapes.items():
        begin, end = end, end + 4 * rows * columns
        header[name] = {"dtype": "F32", "shape": [rows, columns], "data_offsets": [begin, end]}
    head = json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + bytes(end)
