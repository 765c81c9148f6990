"""The few files that a version consists of, copied out of whatever folder they lie in.

Trainers leave much beside them: checkpoints, optimiser states, `training_args.bin`, a `.git`. None of it is opened.
What is inspected, repaired and stored is the copy, whoever writes to the folder meanwhile.
"""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from registry.adapters.effect_proof import EFFECT_PROOF_FILE, MAX_PROOF_BYTES
from registry.adapters.inspect.folder import (
    MAX_CONFIG_BYTES,
    WIDEST_ITEM_BYTES,
    kind_of_file,
    largest_weights,
)
from registry.adapters.training_rows import MAX_ROWS_BYTES, TRAINING_ROWS_FILE
from registry.adapters.version_files import CONFIG_FILE, WEIGHTS_FILE
from registry.bases.model import BaseSpec
from registry.errors import AdapterRefused, Finding
from registry.storage.safetensors_header import clip

CHUNK_BYTES = 4 * 2**20
MAX_SEARCHED = 1_000
"""Entries of a folder that are looked at for a hint."""

OPTIONAL = (EFFECT_PROOF_FILE, TRAINING_ROWS_FILE)
PICKLES = ("adapter_model.bin", "adapter_model.pt", "pytorch_lora_weights.bin")
CONVERT = (
    "import torch, sys; from safetensors.torch import save_file; "
    "save_file({k: v.contiguous().clone() for k, v in torch.load(sys.argv[1], map_location='cpu', "
    "weights_only=True).items()}, sys.argv[2])"
)
"""Safe on a stranger's file: `weights_only` reads tensors and runs no code."""

JOIN = (
    "import sys; from safetensors.torch import load_file, save_file; "
    "save_file({k: v for f in sys.argv[2:] for k, v in load_file(f).items()}, sys.argv[1])"
)


@contextmanager
def taken(folder: Path, base: BaseSpec, max_rank: int, *, whole_layers: bool = False) -> Iterator[Path]:
    """A private copy of the files inside the block; links are followed, whoever names a folder may read them anyway.

    `whole_layers` leaves room for weights of the base that training saved beside the adapter's. Raises
    `AdapterRefused` when a file is missing, too large or no file, with a hint where the wanted ones may be.
    """
    room = WIDEST_ITEM_BYTES * sum(out * into for out, into in (*base.linears.values(), *base.embeddings.values()))
    limits = {
        CONFIG_FILE: MAX_CONFIG_BYTES,
        WEIGHTS_FILE: largest_weights(base, max_rank) + (2 * room if whole_layers else 0),
        EFFECT_PROOF_FILE: MAX_PROOF_BYTES,
        TRAINING_ROWS_FILE: MAX_ROWS_BYTES,
    }
    with tempfile.TemporaryDirectory(prefix="switchyard-adapter-") as name:
        copy = Path(name)
        _take(folder, copy, limits)
        yield copy


def _take(folder: Path, copy: Path, limits: Mapping[str, int]) -> None:
    findings = []
    for name, limit in limits.items():
        try:
            finding = _copy(folder / name, copy / name, limit)
        except (FileNotFoundError, NotADirectoryError):
            finding = None if name in OPTIONAL else _missing(folder, name)
        except (OSError, ValueError) as error:
            found = clip(getattr(error, "strerror", None) or error)
            finding = Finding("file_unreadable", name, found, "a readable file")
        if finding is not None:
            findings.append(finding)
    if findings:
        raise AdapterRefused(tuple(findings))


def _copy(source: Path, target: Path, limit: int) -> Finding | None:
    """Copy a regular file of at most `limit` bytes; what is wrong with any other."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for its writer
    with os.fdopen(descriptor, "rb", buffering=0) as reader:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return Finding("not_a_regular_file", source.name, kind_of_file(status.st_mode), "a file, or a link to one")
        copied = 0
        with target.open("wb") as writer:
            while copied <= limit and (piece := reader.read(CHUNK_BYTES)):
                copied += len(piece)
                writer.write(piece)
    if copied <= limit:
        return None
    return Finding("file_too_large", source.name, f"{max(copied, status.st_size)} bytes", f"at most {limit} bytes")


def _missing(folder: Path, name: str) -> Finding:
    if not folder.is_dir():
        return Finding("folder_unreadable", ".", "no such folder", f"a folder with {CONFIG_FILE} and {WEIGHTS_FILE}")
    with os.scandir(folder) as entries:
        beside = sorted(entry.name for entry, _ in zip(entries, range(MAX_SEARCHED), strict=False))
    if name == WEIGHTS_FILE:
        for hint in (_pickled, _in_parts, _of_another_kind):
            finding = hint(folder, beside)
            if finding is not None:
                return finding
    inside = [entry for entry in beside if (folder / entry / name).is_file()]
    if inside:
        shown = ", ".join(shlex.quote(str(folder / entry)) for entry in inside[:5])
        return Finding("file_missing", name, f"none here, but {len(inside)} in folders inside", f"one of: {shown}")
    return Finding("file_missing", name, "no such file", "a PEFT folder, as model.save_pretrained(folder) writes it")


def _pickled(folder: Path, beside: list[str]) -> Finding | None:
    for name in PICKLES:
        if name in beside:
            command = f"python -c {shlex.quote(CONVERT)} {_quoted(folder / name)} {_quoted(folder / WEIGHTS_FILE)}"
            return Finding("pickle_file", name, "weights as a pickle, which can run code when read", f"run: {command}")
    return None


def _in_parts(folder: Path, beside: list[str]) -> Finding | None:
    parts = [name for name in beside if name.startswith("adapter_model-") and name.endswith(".safetensors")]
    if not parts:
        return None
    files = " ".join(_quoted(folder / name) for name in parts)
    command = f"python -c {shlex.quote(JOIN)} {_quoted(folder / WEIGHTS_FILE)} {files}"
    return Finding("weights_in_parts", WEIGHTS_FILE, f"{len(parts)} parts of it", f"one file; run: {command}")


def _of_another_kind(folder: Path, beside: list[str]) -> Finding | None:
    kinds = {
        "adapters.safetensors": "an MLX adapter, whose matrices lie the other way round",
        "pytorch_lora_weights.safetensors": "an adapter of an image model (diffusers)",
        "model.safetensors": "a whole model",
        "model.safetensors.index.json": "a whole model",
        "pytorch_model.bin": "a whole model",
    }
    found = next((name for name in kinds if name in beside), None)
    if found is None or any((folder / name / WEIGHTS_FILE).is_file() for name in beside):
        return None
    expected = f"a PEFT adapter with {WEIGHTS_FILE}, as model.save_pretrained(folder) of a PeftModel writes it"
    return Finding("not_an_adapter", found, kinds[found], expected)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
