"""Builders of small base models and adapter folders, sound and broken, without torch.

The base has two llama layers, hidden size 16, MLP 32, two heads of which one holds keys and values, 24 tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from registry.bases.model import BaseSpec

HIDDEN, MLP, KV, VOCAB, LAYERS = 16, 32, 8, 24, 2
SHAPES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (KV, HIDDEN),
    "self_attn.v_proj": (KV, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (MLP, HIDDEN),
    "mlp.up_proj": (MLP, HIDDEN),
    "mlp.down_proj": (HIDDEN, MLP),
}
TARGETS = tuple(name.rpartition(".")[2] for name in SHAPES)
LINEARS = {f"model.layers.{layer}.{name}": shape for layer in range(LAYERS) for name, shape in SHAPES.items()}
RANK = 4
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"


@dataclass(frozen=True)
class Tensor:
    """A tensor as it lies in a safetensors file."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def tiny_base(**changes: Any) -> BaseSpec:
    """The base as the registry knows it; `changes` replace fields."""
    spec = BaseSpec(
        digest="sha256:" + "0" * 64,
        architecture="LlamaForCausalLM",
        num_layers=LAYERS,
        vocab_size=VOCAB,
        hidden_size=HIDDEN,
        max_position=64,
        chat_template=True,
        tied_embeddings=True,
        linears=LINEARS,
        embeddings={"model.embed_tokens": (VOCAB, HIDDEN)},
    )
    return replace(spec, **changes)


def encode(values: np.ndarray[Any, Any], dtype: str) -> bytes:
    """Float values as little-endian F16, BF16 (cut, not rounded), F32 or F64."""
    if dtype == "BF16":
        return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return values.astype({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype]).tobytes()


def tensor(*shape: int, dtype: str = "F32", fill: float | None = None, seed: int = 0) -> Tensor:
    """A tensor of small normal values, or of one value."""
    values = np.random.default_rng(seed).normal(0, 0.02, shape) if fill is None else np.full(shape, fill)
    return Tensor(dtype, shape, encode(values, dtype))


def a_name(module: str) -> str:
    return f"base_model.model.{module}.lora_A.weight"


def b_name(module: str) -> str:
    return f"base_model.model.{module}.lora_B.weight"


def pair(module: str, rank: int = RANK, dtype: str = "F32", seed: int = 0) -> dict[str, Tensor]:
    """Both halves for a linear layer of the base."""
    out, into = LINEARS[module]
    return {
        a_name(module): tensor(rank, into, dtype=dtype, seed=seed),
        b_name(module): tensor(out, rank, dtype=dtype, seed=seed + 1),
    }


def lora_tensors(dtype: str = "F32", ranks: Mapping[str, int] | None = None, seed: int = 0) -> dict[str, Tensor]:
    """Every linear layer adapted at rank 4, or at the rank given for its module path."""
    tensors: dict[str, Tensor] = {}
    for number, module in enumerate(LINEARS):
        tensors |= pair(module, (ranks or {}).get(module, RANK), dtype, seed=seed + 2 * number)
    return tensors


def lora_config(**changes: Any) -> dict[str, Any]:
    """What PEFT writes for a plain all-linear LoRA, shortened; `changes` replace keys."""
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "tiny",
        "r": RANK,
        "lora_alpha": 8,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(TARGETS),
        "init_lora_weights": True,
        "megatron_core": "megatron.core",
        "qalora_group_size": 16,
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_dora": False,
        "use_rslora": False,
        "modules_to_save": None,
    }
    return config | changes


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """A well-formed file of the tensors in the given order."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, item in tensors.items():
        header[name] = {
            "dtype": item.dtype,
            "shape": list(item.shape),
            "data_offsets": [offset, offset + len(item.data)],
        }
        offset += len(item.data)
    return with_header(json.dumps(header).encode(), b"".join(item.data for item in tensors.values()))


def with_header(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A file with this very header; `length` lies about it."""
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def write_adapter(
    folder: Path, config: Mapping[str, Any] | None = None, tensors: Mapping[str, Tensor] | None = None
) -> Path:
    """A PEFT folder; a sound one unless told otherwise. `config` changes keys of the plain configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(lora_config(**(config or {}))))
    (folder / WEIGHTS_FILE).write_bytes(safetensors_bytes(lora_tensors() if tensors is None else tensors))
    return folder


def base_tensors(dtype: str = "BF16", seed: int = 7) -> dict[str, Tensor]:
    """The tiny base's weights, embeddings tied."""
    tensors = {"model.embed_tokens.weight": tensor(VOCAB, HIDDEN, dtype=dtype, seed=seed)}
    for number, (module, shape) in enumerate(LINEARS.items()):
        tensors[f"{module}.weight"] = tensor(*shape, dtype=dtype, seed=seed + 1 + number)
    for layer in range(LAYERS):
        tensors[f"model.layers.{layer}.input_layernorm.weight"] = tensor(HIDDEN, dtype=dtype, fill=1.0)
    return tensors


@dataclass
class TinyBase:
    """The tiny base as files; change a field, then `write` it."""

    tensors: dict[str, Tensor] = field(default_factory=base_tensors)
    config: dict[str, Any] = field(
        default_factory=lambda: {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": HIDDEN,
            "intermediate_size": MLP,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": VOCAB,
            "max_position_embeddings": 64,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
        }
    )
    tokenizer: dict[str, Any] = field(
        default_factory=lambda: {
            "version": "1.0",
            "truncation": None,
            "normalizer": {"type": "NFC"},
            "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
        }
    )
    tokenizer_config: dict[str, Any] = field(default_factory=lambda: {"eos_token": "b", "chat_template": "{{ x }}"})

    def write(self, folder: Path, metadata: Mapping[str, str] | None = None) -> Path:
        """All in `model.safetensors`."""
        self._write_texts(folder)
        (folder / "model.safetensors").write_bytes(safetensors_bytes(self.tensors, metadata))
        return folder

    def write_sharded(self, folder: Path, shards: int = 3) -> Path:
        """The same tensors dealt out over shards in reverse order, with an index."""
        self._write_texts(folder)
        names = sorted(self.tensors, reverse=True)
        weight_map: dict[str, str] = {}
        for number in range(shards):
            file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
            dealt = {name: self.tensors[name] for name in names[number::shards]}
            (folder / file).write_bytes(safetensors_bytes(dealt, {"format": "pt"}))
            weight_map |= dict.fromkeys(dealt, file)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        return folder

    def _write_texts(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config))
        (folder / "tokenizer.json").write_text(json.dumps(self.tokenizer))
        (folder / "tokenizer_config.json").write_text(json.dumps(self.tokenizer_config))
