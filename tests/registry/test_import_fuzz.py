"""Seeded fuzzing of all that an import reads of a foreign folder: it is taken, or refused by name, and nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.adapters.importing import Source, repaired
from registry.adapters.inspect import inspect_adapter
from registry.errors import AdapterRefused
from registry.service import Registry
from tests.support.adapter_folders import (
    CONFIG_FILE,
    LINEARS,
    WEIGHTS_FILE,
    Tensor,
    lora_config,
    lora_tensors,
    safetensors_bytes,
    tensor,
    write_adapter,
)

SQLITE_ALONE = True  # what is read of a folder is no matter of the database

SLOW = "(" * 20 + ".+" + ")+" * 20 + "x"
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 8, 2**62, 1.5, -0.0, 1e300, "", "x", "a.b", ".*", SLOW, "\x1b[31m", "ü", "\u202e",
    "q" * 9_000, [], {}, [[]], [None], ["q_proj"], [".*"], [SLOW], [1], {"q_proj": 2}, {SLOW: 2}, {"": 1},
    {"q_proj": None}, {"q_proj": {}}, {"q_proj": -1}, {".*q_proj": 4}, [["a"] * 3] * 3, {"a": {"b": {"c": {}}}},
    ["q_proj"] * 1_000, "all-linear",
]  # fmt: skip
KEYS = [
    *lora_config(), "exclude_modules", "layers_to_transform", "layers_pattern", "auto_mapping", "lora_bias",
    "megatron_config", "runtime_config", "target_parameters", "trainable_token_indices", "of_tomorrow", "peft_version",
    "fan_in_fan_out", "revision", "inference_mode", "loftq_config", "arrow_config",
]  # fmt: skip
PARTS = ["base_model", "model", "module", "_orig_mod", "layers", "0", "1", "9", "self_attn", "q_proj", "mlp", "lora_A",
         "lora_B", "lora_embedding_A", "default", "weight", "bias", "base_layer", "modules_to_save", "original_module",
         "embed_tokens", "lm_head", "lora_magnitude_vector", "", " ", "\x00", "é"]  # fmt: skip


def is_taken(folder: Path, registry: Registry) -> bool:
    """False when refused; any other exception fails the test, and so does what is taken and not sound."""
    base = registry.bases.get("tiny")
    try:
        with repaired(Source(folder, {}), base, registry) as adapter:
            inspect_adapter(adapter.folder, base.spec, max_rank=8)
            sound = json.loads((adapter.folder / CONFIG_FILE).read_text())
            assert all(isinstance(name, str) and "*" not in name for name in sound["target_modules"])
            json.dumps(adapter.lineage, ensure_ascii=False).encode()
    except AdapterRefused:
        return False
    return True


def odd_settings(dice: random.Random) -> dict[str, Any]:
    return lora_config(**{dice.choice(KEYS): dice.choice(ODD) for _ in range(dice.randint(1, 3))})


def odd_names(dice: random.Random) -> dict[str, Tensor]:
    def odd(name: str) -> str:
        parts = name.split(".")
        for _ in range(dice.randint(1, 3)):
            place = dice.randrange(len(parts) + 1)
            parts[place : place + dice.randint(0, 1)] = [dice.choice(PARTS)]
        return ".".join(parts)

    everything = dice.random() < 0.3
    return {odd(name) if everything or dice.random() < 0.1 else name: item for name, item in lora_tensors().items()}


def odd_extras(dice: random.Random) -> dict[str, Tensor]:
    names = [".".join(dice.choices(PARTS, k=dice.randint(1, 9))) for _ in range(dice.randint(1, 4))]
    kinds = ("F32", "F16", "BF16", "F64")
    return lora_tensors() | {
        name: tensor(*dice.choices((0, 1, 4, 16), k=dice.randint(0, 3)), dtype=dice.choice(kinds)) for name in names
    }


def test_odd_settings_are_taken_or_refused(registry: Registry, tmp_path: Path) -> None:
    dice = random.Random(21)
    folder = write_adapter(tmp_path / "odd")
    outcomes = []
    for _ in range(150):
        (folder / CONFIG_FILE).write_text(json.dumps(odd_settings(dice)))
        outcomes.append(is_taken(folder, registry))
    assert 10 < sum(outcomes) < 140


@pytest.mark.parametrize("odd", [odd_names, odd_extras])
def test_odd_tensors_are_taken_or_refused(
    registry: Registry, tmp_path: Path, odd: Callable[[random.Random], dict[str, Tensor]]
) -> None:
    dice = random.Random(22)
    folder = write_adapter(tmp_path / "odd")
    outcomes = []
    for _ in range(100):
        (folder / WEIGHTS_FILE).write_bytes(safetensors_bytes(odd(dice)))
        outcomes.append(is_taken(folder, registry))
    assert sum(outcomes) < 75


def test_both_files_cut_or_flipped_anywhere_are_taken_or_refused(registry: Registry, tmp_path: Path) -> None:
    dice = random.Random(23)
    folder = write_adapter(tmp_path / "odd", {"target_modules": r".*_proj", "rank_pattern": {".*k_proj": 4}})
    whole = {name: (folder / name).read_bytes() for name in (CONFIG_FILE, WEIGHTS_FILE)}
    outcomes = []
    for _ in range(100):
        for name, data in whole.items():
            broken = bytearray(data)
            reach = len(data) if name == CONFIG_FILE else 8 + int.from_bytes(data[:8], "little")
            for _ in range(dice.randint(0, 2)):
                broken[dice.randrange(reach)] ^= 1 << dice.randrange(8)
            (folder / name).write_bytes(broken if dice.random() < 0.9 else broken[: dice.randrange(len(broken))])
        outcomes.append(is_taken(folder, registry))
    assert 3 < sum(outcomes) < 97


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": SLOW},
        {"target_modules": ["q_proj"], "exclude_modules": SLOW},
        {"layers_to_transform": [0], "layers_pattern": SLOW},
        {"layers_to_transform": [0], "layers_pattern": [SLOW]},
        {"rank_pattern": {SLOW: 4}},
        {"alpha_pattern": {SLOW: 4}},
        {"alpha_pattern": {f".*.*(p|pr|pro|proj)x{number}": 4 for number in range(8)}},
        {"alpha_pattern": {r"\d+" * 80 + "x": 4}},
        {"rank_pattern": {f"module{number}": 4 for number in range(40_000)}},
        {"target_modules": [f"module{number}" for number in range(40_000)]},
    ],
    ids=str,
)
def test_no_pattern_of_a_file_costs_time(registry: Registry, tmp_path: Path, config: dict[str, Any]) -> None:
    folder = write_adapter(tmp_path / "slow", config)
    is_taken(folder, registry)  # run as PEFT does, most of them would take longer than the sun has left


def test_a_header_of_a_million_tensors_is_refused_by_their_number(registry: Registry, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "many")
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"t{number}": entry for number in range(2 * (4 * (len(LINEARS) + 1) + 10_000) + 1)}).encode()
    (folder / WEIGHTS_FILE).write_bytes(len(header).to_bytes(8, "little") + header)
    with (
        pytest.raises(AdapterRefused, match="too_many_tensors"),
        repaired(Source(folder, {}), registry.bases.get("tiny"), registry),
    ):
        pass
