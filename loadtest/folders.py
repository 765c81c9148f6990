"""Adapter folders for tests and load tests: PEFT-shaped, random or zero, written in milliseconds without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

TINY_BASE: Mapping[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 49_152,
}
"""A Llama's config.json, small enough that an adapter on all its layers has a few kilobytes."""


def layer_sizes(base: Mapping[str, Any]) -> dict[str, tuple[str, int, int]]:
    """Module → (path inside a layer, inputs, outputs) of a Llama with this config.json."""
    hidden, inner = base["hidden_size"], base["intermediate_size"]
    head = base.get("head_dim") or hidden // base["num_attention_heads"]
    queries, keys = base["num_attention_heads"] * head, base["num_key_value_heads"] * head
    return {
        "q_proj": ("self_attn.q_proj", hidden, queries),
        "k_proj": ("self_attn.k_proj", hidden, keys),
        "v_proj": ("self_attn.v_proj", hidden, keys),
        "o_proj": ("self_attn.o_proj", queries, hidden),
        "gate_proj": ("mlp.gate_proj", hidden, inner),
        "up_proj": ("mlp.up_proj", hidden, inner),
        "down_proj": ("mlp.down_proj", inner, hidden),
    }


def write_adapter(
    folder: Path,
    base: Mapping[str, Any] = TINY_BASE,
    *,
    seed: int = 0,
    rank: int = 4,
    scale: float = 0.05,
    modules: Sequence[str] = ("q_proj", "v_proj"),
    renamed: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write a LoRA adapter for the base whose config.json is `base`, and return `folder`.

    `scale` is the standard deviation of B (0 gives an adapter that changes nothing), `renamed` replaces module names
    in the tensors, and `config` overrides fields of adapter_config.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw, sizes, names = np.random.default_rng(seed), layer_sizes(base), renamed or {}
    tensors = {}
    for layer in range(base["num_hidden_layers"]):
        for module in modules:
            path, inputs, outputs = sizes[module]
            stem = f"base_model.model.model.layers.{layer}.{path}".replace(module, names.get(module, module))
            tensors[f"{stem}.lora_A.weight"] = draw.normal(0, inputs**-0.5, (rank, inputs)).astype(np.float32)
            tensors[f"{stem}.lora_B.weight"] = draw.normal(0, scale, (outputs, rank)).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "base",
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": [names.get(module, module) for module in modules],
        **(config or {}),
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2))
    return folder


def write_proof(folder: Path, proof: Mapping[str, Any]) -> Path:
    """Put an effect proof into an adapter's folder, and return the folder."""
    (folder / "effect_proof.json").write_text(json.dumps(proof))
    return folder
