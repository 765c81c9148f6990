"""Repairs of adapters as trainers leave them, before the inspection: exact, told one by one, or not done at all.

What engines pass over without a word (tensors under the names of wrappers), or refuse although it means nothing (a
pattern, a setting of training, a copy of the base), is put right here. What changes the adapter's answers is not
touched: the inspection refuses it, with its reason.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.adapters.inspect.folder import open_regular
from registry.adapters.inspect.tensors import most_tensors
from registry.adapters.repair.config import CONFIG_REPAIRS
from registry.adapters.repair.draft import Ground, Repair, RepairDraft
from registry.adapters.repair.full_tensors import FULL_TENSOR_REPAIRS
from registry.adapters.repair.names import NAME_REPAIRS
from registry.adapters.repair.values import FindBase, TensorValues
from registry.adapters.repair.weights import write_weights
from registry.adapters.version_files import CONFIG_FILE, WEIGHTS_FILE
from registry.bases.model import BaseSpec
from registry.errors import AdapterRefused, Finding
from registry.storage.safetensors_header import MalformedSafetensors, read_header
from registry.storage.strict_json import BOM, NotStrictJson, strict_json

__all__ = ["Outcome", "Repair", "repair_adapter"]

REPAIRS = (*NAME_REPAIRS, *FULL_TENSOR_REPAIRS, *CONFIG_REPAIRS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was repaired, and the digests of the files as they came (`sha256:…` by name); both empty for a sound one."""

    repairs: tuple[Repair, ...]
    original: dict[str, str]
    named_base: str | None
    """`base_model_name_or_path`, where that is text."""


def repair_adapter(folder: Path, base: BaseSpec, find_base: FindBase, *, allowed: bool = True) -> Outcome:
    """Put right what can be in the two files of `folder`, which must be a private copy. Sound files stay as they are.

    `find_base` finds a folder of the base, for comparisons; without one copies of the base cannot be told. When
    repairs are not `allowed` and one is needed, nothing is written. Raises `AdapterRefused` for that, for what is
    ambiguous, and for files that cannot be read.
    """
    raw = (folder / CONFIG_FILE).read_bytes()
    weights = folder / WEIGHTS_FILE
    draft = original = _read(raw, weights, base)
    repairs: list[Repair] = []
    if raw.startswith(BOM):
        repairs.append(Repair("byte_order_mark_dropped", f"the byte order mark of {CONFIG_FILE} was taken away"))
    with TensorValues(weights, find_base) as values:
        for repair in REPAIRS:
            draft, done = repair(draft, Ground(base, values))
            repairs += done
    named = draft.config.get("base_model_name_or_path")
    named = named if isinstance(named, str) else None
    if not repairs:
        return Outcome((), {}, named)
    if not allowed:
        raise AdapterRefused(tuple(_wanted(repair) for repair in repairs[:20]))
    digests = {CONFIG_FILE: _digest(folder / CONFIG_FILE), WEIGHTS_FILE: _digest(weights)}
    if draft.config != original.config or raw.startswith(BOM):
        (folder / CONFIG_FILE).write_text(json.dumps(dict(draft.config), indent=2, sort_keys=True) + "\n")
    if draft.tensors != original.tensors:
        write_weights(draft.tensors, weights)
    return Outcome(tuple(repairs), digests, named)


def _read(raw: bytes, weights: Path, base: BaseSpec) -> RepairDraft:
    try:
        config: Any = strict_json(raw.removeprefix(BOM))
        if not isinstance(config, dict):
            raise NotStrictJson(f"a JSON {type(config).__name__}")
        with open_regular(weights) as (stream, size):
            entries = read_header(stream, size, WEIGHTS_FILE, max_tensors=2 * most_tensors(base))
    except NotStrictJson as error:
        finding = Finding("config_not_json", CONFIG_FILE, str(error), "a JSON object in UTF-8, every key once")
        raise AdapterRefused((finding,)) from None
    except MalformedSafetensors as malformed:
        raise AdapterRefused((malformed.finding,)) from None
    return RepairDraft(config, {entry.name: entry for entry in entries})


def _wanted(repair: Repair) -> Finding:
    return Finding("repair_needed", ".", f"what an import repairs: {repair.what}", "a sound folder, or no --no-repair")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
