"""Adapters as the mock sees them: what is read from a folder, what is registered, what is in memory.

Two tables, as in vLLM: the *names* that the API process knows (`/v1/models`), and the *memory* of the worker, a
least-recently-used cache keyed by the adapter's number. Unloading removes the name only; memory is freed by
eviction. A name whose weights were evicted is read from its folder again when a request uses it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
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
    zero: bool
    """True when every B tensor is zero: the adapter then is the base."""
    proven: dict[Question, Proven] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Registered:
    """A loaded name. `number` is vLLM's lora_int_id, never reused while the engine lives."""

    name: str
    path: str
    number: int


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
    halves = [data[start + a : start + b] for name, (_, a, b) in header.items() if "lora_B" in name]
    digest = hashlib.sha256(config_bytes + b"\0" + data).digest()
    return Weights(digest, all(not half.strip(b"\0") for half in halves), _read_proof(folder / "effect_proof.json"))


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


class AdapterTable:
    """Names and memory. Reading is synchronous, as it is in vLLM's worker."""

    def __init__(self, max_cpu_loras: int, max_rank: int, shapes: Shapes) -> None:
        self.names: dict[str, Registered] = {}
        self.memory: OrderedDict[int, Weights] = OrderedDict()
        self.loads = 0
        self.unloads = 0
        self.evictions = 0
        self.disk_reads = 0
        self._max_cpu_loras = max_cpu_loras
        self._max_rank = max_rank
        self._shapes = shapes
        self._next_number = 1

    def load(self, name: str, path: str) -> None:
        """Read the folder, then register the name; a name that is loaded keeps its number (in-place)."""
        known = self.names.get(name)
        number = known.number if known else self._next_number
        self._next_number += not known
        self.memory.pop(number, None)
        self._read(number, path)
        self.names[name] = Registered(name, path, number)
        self.loads += 1

    def unload(self, name: str) -> None:
        """Forget the name; the weights stay in memory until they are evicted. Raises KeyError."""
        del self.names[name]
        self.unloads += 1

    def weights(self, adapter: Registered) -> Weights:
        """The adapter's weights, read again when they were evicted. Raises AdapterMissing, AdapterBroken."""
        weights = self.memory.get(adapter.number)
        if weights is None:
            return self._read(adapter.number, adapter.path)
        self.memory.move_to_end(adapter.number)
        return weights

    def base_logprob(self, question: Question) -> float | None:
        """The base's answer to a question that some proof in memory asks."""
        for weights in self.memory.values():
            if found := weights.proven.get(question):
                return found.base
        return None

    def _read(self, number: int, path: str) -> Weights:
        weights = read_adapter(path, self._max_rank, self._shapes)
        self.disk_reads += 1
        self.memory[number] = weights
        while len(self.memory) > self._max_cpu_loras:
            self.memory.popitem(last=False)
            self.evictions += 1
        return weights
