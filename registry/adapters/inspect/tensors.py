"""`adapter_model.safetensors` against the base model: names, pairs, shapes, dtypes and every single value."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from registry.adapters.inspect.config import LoraConfig
from registry.adapters.inspect.findings import Findings
from registry.adapters.inspect.folder import open_regular
from registry.adapters.inspect.formats import foreign_format
from registry.adapters.version_files import WEIGHTS_FILE
from registry.bases.model import BaseSpec
from registry.storage.safetensors_header import MalformedSafetensors, TensorEntry, read_header

TENSOR_NAME = re.compile(
    r"base_model\.model\.(?P<module>[A-Za-z0-9_.]+)\.(?:lora_(?P<linear>[AB])\.weight|lora_embedding_(?P<embedding>[AB]))"
)
LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.([0-9]{1,6})(?:\.|$)")
MAX_LM_HEAD_VOCAB = 258_048
"""vLLM refuses LoRA on a larger output layer (lora/layers/logits_processor.py)."""

CHUNK_BYTES = 2**18
"""Small enough to stay in a core's cache between the two passes over it."""


@dataclass(frozen=True, slots=True)
class Format:
    """A dtype's public name and its bits, read as an unsigned integer of the same width.

    Without the sign bit these integers are ordered as the magnitudes are. So one maximum tells both whether all
    values are finite (it lies below `infinity`) and whether any is not zero.
    """

    name: str
    unsigned: np.dtype[np.unsignedinteger]
    magnitude: int
    infinity: int


FORMATS: Mapping[str, Format] = {
    "F16": Format("float16", np.dtype("<u2"), 0x7FFF, 0x7C00),
    "BF16": Format("bfloat16", np.dtype("<u2"), 0x7FFF, 0x7F80),
    "F32": Format("float32", np.dtype("<u4"), 0x7FFFFFFF, 0x7F800000),
}


@dataclass(frozen=True, slots=True)
class WeightFacts:
    """What the file holds: `modules` adapted modules, whose names end in `targets`."""

    targets: tuple[str, ...]
    parameters: int
    size_bytes: int
    dtype: str
    modules: int


@dataclass(slots=True)
class Pair:
    """The two halves of one module's update: `a` [rank, in] and `b` [out, rank], where they are present."""

    is_embedding: bool
    a: TensorEntry | None = None
    b: TensorEntry | None = None


def read_tensors(path: Path, base: BaseSpec, config: LoraConfig | None, findings: Findings) -> WeightFacts | None:
    """Check the file against the base and the configuration; faults go to `findings`.

    Without a sound configuration all is checked but what depends on it. Returns None when the file cannot be read.
    """
    try:
        with open_regular(path) as (stream, size):
            entries = read_header(stream, size, WEIGHTS_FILE, max_tensors=most_tensors(base))
            pairs = _pair_up(entries, base, findings)
            for module, pair in pairs.items():
                _check_pair(module, pair, base, config, findings)
            if config is not None:
                _check_targets(pairs, base, config, findings)
            _check_values(stream, entries, pairs, findings)
    except MalformedSafetensors as malformed:
        findings.keep(malformed.finding)
        return None
    except OSError as error:
        findings.add("file_unreadable", WEIGHTS_FILE, error.strerror or error, "a readable file")
        return None
    return WeightFacts(
        targets=tuple(sorted({module.rpartition(".")[2] for module in pairs})),
        parameters=sum(int(np.prod(entry.shape, dtype=object)) for entry in entries),
        size_bytes=size,
        dtype="+".join(sorted({FORMATS[entry.dtype].name for entry in entries if entry.dtype in FORMATS})),
        modules=len(pairs),
    )


def most_tensors(base: BaseSpec) -> int:
    """How many tensors a file for this base may hold: twice what adapting all of it takes, and room to tell faults."""
    return 4 * (len(base.linears) + len(base.embeddings)) + 10_000


def _pair_up(entries: Iterable[TensorEntry], base: BaseSpec, findings: Findings) -> dict[str, Pair]:
    """The pairs of the modules that the base has, in order of the file; every other tensor is a finding."""
    entries = list(entries)
    foreign = foreign_format([entry.name for entry in entries])
    if foreign is not None:
        findings.add(foreign.code, foreign.file, foreign.found, foreign.expected, foreign.tensor)
        return {}
    pairs: dict[str, Pair] = {}
    for entry in entries:
        name = TENSOR_NAME.fullmatch(entry.name)
        if name is None:
            expected = "base_model.model.<module>.lora_A.weight or lora_B.weight; nothing else is served"
            findings.add("tensor_unsupported", WEIGHTS_FILE, "a tensor of another kind", expected, entry.name)
            continue
        module, is_embedding = name["module"], name["embedding"] is not None
        if not _is_adaptable(module, is_embedding, entry.name, base, findings):
            continue
        pair = pairs.setdefault(module, Pair(is_embedding))
        if (name["linear"] or name["embedding"]) == "A":
            pair.a = entry
        else:
            pair.b = entry
    if not pairs and not findings:
        findings.add("no_tensors", WEIGHTS_FILE, "no LoRA tensors", "at least one lora_A and lora_B pair")
    return pairs


def _is_adaptable(module: str, is_embedding: bool, tensor: str, base: BaseSpec, findings: Findings) -> bool:
    layer = LAYER.search(module)
    if layer is not None and int(layer[1]) >= base.num_layers:
        findings.add(
            "layer_beyond_base", WEIGHTS_FILE, f"layer {layer[1]}", f"layers 0 to {base.num_layers - 1}", tensor
        )
    elif base.tied_embeddings and module.rpartition(".")[2] in ("lm_head", "embed_tokens"):
        expected = "no LoRA on embeddings that this base shares with its output layer"
        findings.add("tied_embedding", WEIGHTS_FILE, module, expected, tensor)
    elif module not in (base.embeddings if is_embedding else base.linears):
        kind = "embedding" if is_embedding else "linear layer"
        findings.add("module_unknown", WEIGHTS_FILE, module, f"a {kind} of the base {base.architecture}", tensor)
    elif module.endswith("lm_head") and base.vocab_size > MAX_LM_HEAD_VOCAB:
        expected = f"a vocabulary of at most {MAX_LM_HEAD_VOCAB} for LoRA on lm_head"
        findings.add("vocabulary_too_large", WEIGHTS_FILE, f"{base.vocab_size} tokens", expected, tensor)
    else:
        return True
    return False


def _check_pair(module: str, pair: Pair, base: BaseSpec, config: LoraConfig | None, findings: Findings) -> None:
    if pair.a is None or pair.b is None:
        present = pair.a or pair.b
        assert present is not None
        missing = "B" if pair.b is None else "A"
        findings.add("pair_incomplete", WEIGHTS_FILE, f"no lora_{missing} beside it", "both halves", present.name)
        return
    if pair.is_embedding:
        vocabulary, width = base.embeddings[module]
        into, out = vocabulary, width
    else:
        out, into = base.linears[module]
    rank = config.rank_of(module) if config else pair.a.shape[0] if pair.a.shape else 0
    for entry, expected in ((pair.a, (rank, into)), (pair.b, (out, rank))):
        if entry.shape != expected:
            meaning = f"{list(expected)} for rank {rank} on {module}"
            if entry.size == 0:
                meaning += "; it is empty, as DeepSpeed's and FSDP's shards are that were not gathered before the save"
            findings.add("shape_mismatch", WEIGHTS_FILE, list(entry.shape), meaning, entry.name)


def _check_targets(pairs: Mapping[str, Pair], base: BaseSpec, config: LoraConfig, findings: Findings) -> None:
    """Tensors and `target_modules` must tell the same story, else the trained model was another one.

    A target that the base does not have is no fault: PEFT passes over it too.
    """
    for module, pair in pairs.items():
        present = pair.a or pair.b
        if present is not None and not config.adapts(module):
            expected = "a module that target_modules in adapter_config.json names, and nothing there leaves out"
            findings.add("target_not_declared", WEIGHTS_FILE, module, expected, present.name)
    if not config.complete:
        return
    for module in base.linears:
        if module in pairs or _may_be_left_out(module, base):
            continue
        if config.targets.has(module):
            tensor = f"base_model.model.{module}.lora_A.weight"
            expected = "tensors for every module that target_modules names"
            findings.add("module_missing", WEIGHTS_FILE, f"none for {module}", expected, tensor)


def _may_be_left_out(module: str, base: BaseSpec) -> bool:
    """PEFT holds experts as one parameter that it cannot target, and a tied output layer is the embedding."""
    return ".experts." in module or (module.rpartition(".")[2] == "lm_head" and base.tied_embeddings)


def _check_values(
    stream: BinaryIO, entries: Iterable[TensorEntry], pairs: Mapping[str, Pair], findings: Findings
) -> None:
    """Every value is finite, and some module's product B·A is not zero all over."""
    moves: defaultdict[str, bool] = defaultdict(bool)
    for entry in entries:
        form = FORMATS.get(entry.dtype)
        if form is None:
            expected = "F16, BF16 or F32"
            findings.add("dtype_unsupported", WEIGHTS_FILE, entry.dtype, expected, entry.name)
            continue
        largest = _largest_magnitude(stream, entry, form)
        if largest >= form.infinity:
            findings.add("not_finite", WEIGHTS_FILE, "NaN or infinity", "finite values", entry.name)
        moves[entry.name] = largest > 0
    if findings:
        return
    if not any(moves[pair.a.name] and moves[pair.b.name] for pair in pairs.values() if pair.a and pair.b):
        findings.add(
            "no_effect", WEIGHTS_FILE, "lora_A or lora_B all zero in every module", "an adapter that changes answers"
        )


def _largest_magnitude(stream: BinaryIO, entry: TensorEntry, form: Format) -> int:
    """The largest value's bits without its sign; 0 for an empty tensor.

    Plain reads on purpose: a file that shrinks under a memory map kills the process.
    """
    stream.seek(entry.offset)
    largest, left = 0, entry.size
    while left:
        piece = stream.read(min(left, CHUNK_BYTES))
        if len(piece) < min(left, CHUNK_BYTES):
            raise OSError("the file became shorter while it was read")
        bits = np.frombuffer(piece, dtype=form.unsigned) & form.magnitude
        largest = max(largest, int(bits.max()))
        left -= len(piece)
    return largest
