"""`switchyard adapters import`: what equals the base is left out, and what would change answers is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.adapter_folders import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    Tensor,
    TinyBase,
    lora_tensors,
    tensor,
    write_adapter,
)
from tests.support.cli_runner import done, run
from tests.support.import_parts import EMBED, K_AT_2, ONLY_Q, Import, Served, bring, served

__all__ = ["bring", "done", "run", "served"]

BASE = TinyBase().tensors
FROM_BASE = BASE["model.embed_tokens.weight"]
AS_FLOAT32 = tensor(*FROM_BASE.shape, dtype="F32", seed=7)


def as_float32(item: Tensor) -> Tensor:
    words = [item.data[place : place + 2] for place in range(0, len(item.data), 2)]
    return Tensor("F32", item.shape, b"".join(b"\0\0" + word for word in words))


COPIES: dict[str, tuple[dict[str, Any], dict[str, Tensor]]] = {
    "an embedding": ({}, {EMBED: FROM_BASE}),
    "an embedding in float32": ({}, {EMBED: as_float32(FROM_BASE)}),
    "a tied output layer": ({"modules_to_save": ["lm_head"]}, {"base_model.model.lm_head.weight": FROM_BASE}),
    "modules to save": ({"modules_to_save": ["embed_tokens"]}, {EMBED: FROM_BASE}),
    "modules to save under wrappers": (
        {"modules_to_save": ["embed_tokens"]},
        {
            f"_orig_mod.{EMBED.replace('.weight', '.modules_to_save.default.weight')}": FROM_BASE,
            f"_orig_mod.{EMBED.replace('.weight', '.original_module.weight')}": tensor(24, 16, seed=5),
        },
    ),
    "base layers": ({}, {EMBED.replace(".weight", ".base_layer.weight"): FROM_BASE}),
    "a dump of everything": ({}, {f"base_model.model.{name}": item for name, item in BASE.items()}),
    "biases of nothing": (
        {"bias": "all"},
        {"base_model.model.model.layers.0.self_attn.q_proj.bias": tensor(16, fill=0)},
    ),
    "LoRA biases of nothing": (
        {"lora_bias": True},
        {"base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias": tensor(16, fill=0.0)},
    ),
}


@pytest.mark.parametrize(("changes", "extra"), COPIES.values(), ids=COPIES)
def test_what_equals_the_base_is_left_out(
    bring: Import, served: Served, tmp_path: Path, changes: dict[str, Any], extra: dict[str, Tensor]
) -> None:
    folder = write_adapter(tmp_path / "run", changes, lora_tensors() | extra)
    outcome = bring(folder)
    assert outcome.status == 0, outcome.err
    assert "repaired: " in outcome.out
    config, tensors, _ = served()
    assert tensors == lora_tensors()
    assert (config["modules_to_save"], config["bias"], config.get("lora_bias", False)) == (None, "none", False)


def one_bit_off(item: Tensor) -> Tensor:
    return Tensor(item.dtype, item.shape, item.data[:-1] + bytes([item.data[-1] ^ 1]))


TRAINED: dict[str, tuple[dict[str, Any], dict[str, Tensor], str]] = {
    "an embedding by a bit": ({"modules_to_save": ["embed_tokens"]}, {EMBED: one_bit_off(FROM_BASE)}, "tensor_trained"),
    "an embedding of more tokens": ({}, {EMBED: tensor(26, 16)}, "tensor_trained"),
    "a norm": ({}, {"base_model.model.model.layers.0.input_layernorm.weight": tensor(16)}, "tensor_trained"),
    "a bias": ({"bias": "all"}, {"base_model.model.model.layers.0.self_attn.q_proj.bias": tensor(16)}, "tensor_unsup"),
    "a LoRA bias": (
        {"lora_bias": True}, {"base_model.model.model.layers.0.mlp.up_proj.lora_B.bias": tensor(32)}, "lora_bias True"),
    "a score": ({"modules_to_save": ["score"]}, {"base_model.model.score.weight": tensor(2, 16)}, "tensor_unsupported"),
    "DoRA": ({"use_dora": True},
             {"base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector": tensor(32)}, "no low-rank update"),
    "DoRA without its vectors": ({"use_dora": True}, {}, "no low-rank update"),
    "vectors of DoRA without it": (
        {}, {"base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector": tensor(32)}, "tensor_unsupported"),
    "modules of which only the base's copy is there": (
        {"modules_to_save": ["lm_head"]},
        {"base_model.model.lm_head.original_module.weight": tensor(24, 16)}, "modules_to"),
    "modules of which one is not there": (
        {"modules_to_save": ["embed_tokens", "norm"]}, {EMBED: FROM_BASE}, "modules_to_save"),
    "modules that are not there": ({"modules_to_save": ["lm_head"]}, {}, "feature_unsupported"),
    "PiSSA": ({"init_lora_weights": "pissa"}, {}, "path_initial_model_for_weight_conversion"),
    "OLoRA": ({"init_lora_weights": "olora"}, {}, "path_initial_model_for_weight_conversion"),
    "a setting of tomorrow": ({"use_quantum": True}, {}, "setting_unknown"),
    "layers that it leaves out": ({"layers_to_transform": [1]}, {}, "target_not_declared"),
    "modules that it leaves out": ({"exclude_modules": ["q_proj"]}, {}, "target_not_declared"),
    "a rank that no key gives": ({"rank_pattern": {".*k_proj": 3}}, {}, "shape_mismatch"),
    "an alpha that takes for ever": ({"alpha_pattern": {"(.*)*k": 3}}, {}, "pattern_not_explicit"),
    "an alpha that looks ahead": ({"alpha_pattern": {"(?=q)q_proj": 3}}, {}, "pattern_not_explicit"),
    "a module that lost its tensors": ({"target_modules": r".*\.(q_proj|qq)"}, {"": tensor()}, "module_missing"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "extra", "said"), TRAINED.values(), ids=TRAINED)
def test_what_would_change_answers_is_refused_with_the_reason(
    bring: Import, tmp_path: Path, changes: dict[str, Any], extra: dict[str, Tensor], said: str
) -> None:
    tensors = lora_tensors(ranks=K_AT_2) if "rank_pattern" in changes else lora_tensors() | extra
    if "" in extra:
        tensors = {name: item for name, item in ONLY_Q.items() if ".layers.0." in name}
    outcome = bring(write_adapter(tmp_path / "run", changes, tensors))
    assert outcome.status == 1
    assert said in outcome.err
    assert "Traceback" not in outcome.err


def test_a_whole_layer_without_the_base_at_hand_says_what_to_do(bring: Import, tmp_path: Path) -> None:
    (tmp_path / "state" / "base-digests.json").unlink()  # what the registry knows of folders
    outcome = bring(write_adapter(tmp_path / "run", tensors=lora_tensors() | {EMBED: FROM_BASE}))
    assert outcome.status == 1
    assert "[base_not_at_hand]" in outcome.err
    assert "switchyard base register" in outcome.err


def test_a_sound_folder_is_published_byte_for_byte(bring: Import, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "run")
    assert bring(folder, "--no-repair").status == 0
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        laid = registry.version_files.materialise(registry.adapters.all()[-1].manifest_digest)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        assert (laid / name).read_bytes() == (folder / name).read_bytes()
