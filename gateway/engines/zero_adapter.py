"""Adapters that we write ourselves, without torch; first of all the all-zero one that stands for the base."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.bases.model import BaseSpec
from registry.storage.private import seal


@dataclass(frozen=True, slots=True)
class Matrix:
    """float32 values, row by row."""

    rows: int
    columns: int
    values: array[float]

    @classmethod
    def zeros(cls, rows: int, columns: int) -> Matrix:
        """A matrix of nothing."""
        return cls(rows, columns, array("f", bytes(4 * rows * columns)))


def write_zero_adapter(folder: Path, base: BaseSpec) -> Path:
    """An adapter of rank 1 on one module whose product is zero: it changes nothing. Returns its folder."""
    module = next(name for name in sorted(base.linears) if name.endswith("q_proj"))
    out_features, in_features = base.linears[module]
    return write_lora(folder, module, Matrix.zeros(1, in_features), Matrix.zeros(out_features, 1))


def write_lora(folder: Path, module: str, a: Matrix, b: Matrix) -> Path:
    """A PEFT folder with the product `b·a` on one module, of scale 1; one that is there already stays as it is.

    `module` is a linear layer's path as in the checkpoint; `a` is (rank, in), `b` (out, rank). The folder appears in
    one rename and its files are read-only, as an engine may read them again at any time.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".staging-"))
    prefix = f"base_model.model.{module}"
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": a.rows,
        "lora_alpha": a.rows,
        "target_modules": [module.rpartition(".")[2]],
        "bias": "none",
    }
    files = {
        "adapter_config.json": json.dumps(config).encode(),
        "adapter_model.safetensors": _safetensors({f"{prefix}.lora_A.weight": a, f"{prefix}.lora_B.weight": b}),
    }
    try:
        for name, data in files.items():
            (staging / name).write_bytes(data)
        seal(staging)
        try:
            os.replace(staging, folder)
        except OSError:
            if not folder.is_dir():  # another process was first, with the same bytes
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _safetensors(tensors: Mapping[str, Matrix]) -> bytes:
    """The safetensors format: header length (8 bytes, little-endian), JSON header, data. float32 throughout."""
    header: dict[str, object] = {}
    end = 0
    for name, matrix in tensors.items():
        begin, end = end, end + 4 * matrix.rows * matrix.columns
        header[name] = {"dtype": "F32", "shape": [matrix.rows, matrix.columns], "data_offsets": [begin, end]}
    head = json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + b"".join(matrix.values.tobytes() for matrix in tensors.values())
