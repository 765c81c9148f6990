"""What the mock reads from an adapter's folder, and what vLLM's worker refuses in one."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.mock_engine.shapes import Shapes

WEIGHTS = "adapter_model.safetensors"
TENSOR_NAME = re.compile(
    r"^(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<half>A|B|embedding_A|embedding_B)(?:\.weight)?$"
)
REFUSED_FEATURES = (
    ("use_dora", "vLLM does not yet support DoRA."),
    ("lora_bias", "vLLM does not support LoRA bias (lora_bias)."),
    ("alora_invocation_tokens", "vLLM does not support Activated LoRA (aLoRA)."),
    ("layer_replication", "vLLM does not support layer_replication."),
    ("use_bdlora", "vLLM does not support block-diagonal LoRA (BD-LoRA)."),
    ("use_qalora", "vLLM does not support QALoRA."),
)
PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Initialisations that leave the base as it was; every other named one (PiSSA, OLoRA, …) changes it."""


class AdapterMissing(Exception):
    """The folder has no adapter_config.json."""


class AdapterBroken(Exception):
    """The folder cannot be served; the text is vLLM's."""


Question = tuple[tuple[int, ...], int]
"""A prefix of token ids, and the token that may follow it."""


@dataclass(frozen=True, slots=True)
class Proven:
    """What an effect proof says about one question: the token's log-probability under the base and the adapter."""

    base: float
    adapter: float


@dataclass(frozen=True, slots=True)
class Weights:
    """What one folder holds. `digest` covers config and tensors, so equal adapters answer alike wherever they lie."""

    digest: bytes
    inert: bool
    """Changes nothing: every B tensor is zero, or lies outside the model, where vLLM skips it without a word."""
    proven: dict[Question, Proven] = field(default_factory=dict)


def read_adapter(path: str, max_rank: int, shapes: Shapes) -> Weights:
    """Read and check a folder as vLLM's worker does. Raises AdapterMissing, AdapterBroken."""
    folder = Path(path)
    try:
        config_bytes = (folder / "adapter_config.json").read_bytes()
    except OSError as error:
        raise AdapterMissing(path) from error
    config = json.loads(config_bytes)
    _check_config(config, max_rank)
    try:
        data = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise AdapterBroken(f"{path} doesn't contain tensors") from error
    header, start = _header(data)
    _check_tensors(path, header, shapes)
    applied = [data[start + a : start + b] for name, (_, a, b) in header.items() if _is_applied(name, shapes)]
    digest = hashlib.sha256(config_bytes + b"\0" + data).digest()
    return Weights(digest, all(not half.strip(b"\0") for half in applied), _read_proof(folder / "effect_proof.json"))


def _is_applied(tensor: str, shapes: Shapes) -> bool:
    """Whether the tensor is a B half of a layer that the base has."""
    match = TENSOR_NAME.match(tensor)
    return match is not None and match["half"].endswith("B") and shapes.has(match["module"])


def _check_config(config: dict[str, Any], max_rank: int) -> None:
    missing = {name for name in ("r", "lora_alpha", "target_modules") if name not in config}
    if missing:
        raise AdapterBroken(f"Missing required configuration fields: {missing}")
    faults = []
    if unsupported := [name for name in config.get("modules_to_save") or [] if name not in ("classifier", "score")]:
        faults.append(
            'vLLM only supports modules_to_save being either None or ["classifier", "score"] for classification '
            f"models. Unsupported modules_to_save: {unsupported}"
        )
    faults += [text for name, text in REFUSED_FEATURES if config.get(name)]
    init = config.get("init_lora_weights")
    if isinstance(init, str) and init.lower() not in PLAIN_INITS:
        faults.append(f"vLLM does not support init_lora_weights={init!r}.")
    rank = max([config["r"], *(config.get("rank_pattern") or {}).values()])
    if rank > max_rank:
        faults.append(f"LoRA rank {rank} is greater than max_lora_rank {max_rank}.")
    if config.get("bias", "none") != "none":
        faults.append("Adapter bias is not supported.")
    if faults:
        raise AdapterBroken(" ".join(faults))


def _header(data: bytes) -> tuple[dict[str, tuple[tuple[int, ...], int, int]], int]:
    """Tensor name → (shape, first byte, end byte), and where the bytes begin: the safetensors format."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 + size:
        raise AdapterBroken("Error while deserializing header: header too large")
    try:
        raw = json.loads(data[8 : 8 + size])
    except ValueError as error:
        raise AdapterBroken("Error while deserializing header: invalid JSON in header") from error
    tensors = {
        name: (tuple(entry["shape"]), *entry["data_offsets"]) for name, entry in raw.items() if name != "__metadata__"
    }
    if any(end > len(data) - 8 - size for _, _, end in tensors.values()):
        raise AdapterBroken("Error while deserializing header: incomplete metadata, file not fully covered")
    return tensors, 8 + size


def _check_tensors(path: str, header: dict[str, tuple[tuple[int, ...], int, int]], shapes: Shapes) -> None:
    unexpected = []
    for name, (shape, _, _) in header.items():
        match = TENSOR_NAME.match(name)
        if match is None:
            raise AdapterBroken(f"{name} is unsupported LoRA weight")
        module = match["module"]
        if module.rsplit(".", 1)[-1] not in shapes.modules:
            unexpected.append(module)
        elif clash := shapes.clash(module, match["half"], shape):
            raise AdapterBroken(clash)
    if unexpected:
        raise AdapterBroken(
            f"While loading {path}, expected target modules in {shapes.modules} but received {unexpected}."
            " Please verify that the loaded LoRA module is correct"
        )


def _read_proof(path: Path) -> dict[Question, Proven]:
    try:
        proof = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return {
        (tuple(probe["token_ids"][:position]), probe["token_ids"][position]): Proven(base, adapter)
        for probe in proof["probes"]
        for position, base, adapter in zip(
            probe["positions"], probe["base_logprobs"], probe["adapter_logprobs"], strict=True
        )
    }


def read_fingerprint(model: str) -> dict[Question, float]:
    """What the base in the folder `model` answers, from its fingerprint.json; empty without one.

    The file: `{"format": 1, "probes": [{"token_ids": [...], "positions": [...], "logprobs": [...]}]}`; `logprobs[i]` is
    the natural logarithm of the probability of `token_ids[positions[i]]` after all tokens before it.
    """
    try:
        fingerprint = json.loads((Path(model) / "fingerprint.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {
        (tuple(probe["token_ids"][:position]), probe["token_ids"][position]): logprob
        for probe in fingerprint["probes"]
        for position, logprob in zip(probe["positions"], probe["logprobs"], strict=True)
    }
