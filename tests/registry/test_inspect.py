"""Sound adapters are admitted, and their facts are right."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

from registry.adapters.inspect import AdapterFacts, inspect_adapter
from registry.errors import AdapterRefused
from tests.support.adapter_folders import (
    LINEARS,
    TARGETS,
    WEIGHTS_FILE,
    Tensor,
    a_name,
    b_name,
    lora_tensors,
    safetensors_bytes,
    tensor,
    tiny_base,
    write_adapter,
)

RANK_4_PARAMETERS = sum(4 * (out + into) for out, into in LINEARS.values())
K_AT_2 = {module: 2 for module in LINEARS if module.endswith("k_proj")}
ONLY_Q = {name: item for name, item in lora_tensors().items() if ".q_proj." in name}


def inspect(folder: Path, **changes: Any) -> AdapterFacts:
    return inspect_adapter(folder, tiny_base(**changes), max_rank=8)


def test_a_plain_adapter_is_admitted_with_its_facts(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path)
    assert inspect(folder) == AdapterFacts(
        rank=4,
        alpha=8.0,
        use_rslora=False,
        target_modules=tuple(sorted(TARGETS)),
        parameter_count=RANK_4_PARAMETERS,
        size_bytes=(folder / WEIGHTS_FILE).stat().st_size,
        dtype="float32",
        modules=len(LINEARS),
    )


def test_an_adapter_of_the_declared_base_is_admitted(tmp_path: Path) -> None:
    base = tiny_base()
    assert inspect_adapter(write_adapter(tmp_path), base, max_rank=4, declared_base=base.digest).rank == 4


@pytest.mark.parametrize(("stored", "name"), [("F16", "float16"), ("BF16", "bfloat16"), ("F32", "float32")])
def test_every_served_dtype_is_admitted(tmp_path: Path, stored: str, name: str) -> None:
    assert inspect(write_adapter(tmp_path, tensors=lora_tensors(stored))).dtype == name


def test_mixed_dtypes_are_told(tmp_path: Path) -> None:
    mixed = lora_tensors("BF16") | {a_name("model.layers.0.mlp.up_proj"): tensor(4, 16)}
    assert inspect(write_adapter(tmp_path, tensors=mixed)).dtype == "bfloat16+float32"


def test_rslora_is_admitted_and_told(tmp_path: Path) -> None:
    assert inspect(write_adapter(tmp_path, {"use_rslora": True})).use_rslora is True


def test_the_largest_finite_values_are_admitted(tmp_path: Path) -> None:
    for dtype, largest in (("F16", 65504.0), ("BF16", 3.38e38), ("F32", -3.4e38)):
        changed = lora_tensors(dtype) | {b_name("model.layers.0.mlp.up_proj"): tensor(32, 4, dtype=dtype, fill=largest)}
        assert inspect(write_adapter(tmp_path / dtype, tensors=changed)).modules == len(LINEARS)


@pytest.mark.parametrize(
    "keys",
    [("k_proj",), ("self_attn.k_proj",), ("model.layers.0.self_attn.k_proj", "model.layers.1.self_attn.k_proj")],
)
def test_a_rank_pattern_counts_for_shapes_and_facts_as_in_peft(tmp_path: Path, keys: tuple[str, ...]) -> None:
    folder = write_adapter(
        tmp_path, {"rank_pattern": dict.fromkeys(keys, 2) | {"_proj": 7}}, lora_tensors(ranks=K_AT_2)
    )
    assert inspect(folder).rank == 7
    assert inspect(folder).parameter_count == RANK_4_PARAMETERS - sum(2 * sum(LINEARS[module]) for module in K_AT_2)


@pytest.mark.parametrize("targets", [["q_proj"], ["self_attn.q_proj"], [n.split(".lora")[0][17:] for n in ONLY_Q]])
def test_targets_are_names_or_ends_of_names(tmp_path: Path, targets: list[str]) -> None:
    assert inspect(write_adapter(tmp_path, {"target_modules": targets}, ONLY_Q)).target_modules == ("q_proj",)


def test_the_first_key_that_fits_wins_whatever_its_length_as_in_peft(tmp_path: Path) -> None:
    both = {"k_proj": 2, "model.layers.0.self_attn.k_proj": 3}
    assert inspect(write_adapter(tmp_path, {"rank_pattern": both}, lora_tensors(ranks=K_AT_2))).rank == 4


def test_a_target_that_the_base_lacks_is_passed_over_as_in_peft(tmp_path: Path) -> None:
    assert inspect(write_adapter(tmp_path, {"target_modules": ["q_proj", "w1"]}, ONLY_Q)).modules == 2


def test_layers_that_the_configuration_leaves_out_need_no_tensors(tmp_path: Path) -> None:
    first = {name: item for name, item in lora_tensors().items() if ".layers.0." in name}
    assert inspect(write_adapter(tmp_path, {"layers_to_transform": [0]}, first)).modules == 7


def test_one_module_with_an_effect_is_enough(tmp_path: Path) -> None:
    quiet = {
        name: tensor(*item.shape, fill=0.0) if ".lora_B." in name else item for name, item in lora_tensors().items()
    }
    loud = quiet | {b_name("model.layers.1.mlp.up_proj"): tensor(32, 4)}
    assert inspect(write_adapter(tmp_path, tensors=loud)).modules == len(LINEARS)


def test_embeddings_of_an_untied_base_may_be_adapted(tmp_path: Path) -> None:
    prefix = "base_model.model.model.embed_tokens.lora_embedding_"
    changed = lora_tensors() | {f"{prefix}A": tensor(4, 24), f"{prefix}B": tensor(16, 4)}
    folder = write_adapter(tmp_path, {"target_modules": [*TARGETS, "embed_tokens"]}, changed)
    assert inspect(folder, tied_embeddings=False).modules == len(LINEARS) + 1


def is_admitted(folder: Path) -> bool:
    """False when refused; any other exception fails the test."""
    try:
        inspect(folder)
    except AdapterRefused:
        return False
    return True


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path)
    whole = (folder / WEIGHTS_FILE).read_bytes()
    cuts = random.Random(1).sample(range(len(whole)), 150)
    for cut in [0, 1, 7, 8, 9, len(whole) - 1, *cuts]:
        (folder / WEIGHTS_FILE).write_bytes(whole[:cut])
        assert not is_admitted(folder), f"cut at {cut}"


def test_a_header_with_flipped_bits_is_admitted_or_refused_but_never_breaks_the_inspection(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path)
    whole = (folder / WEIGHTS_FILE).read_bytes()
    header_end = 8 + int.from_bytes(whole[:8], "little")
    dice = random.Random(2)
    refused = 0
    for _ in range(400):
        broken = bytearray(whole)
        for _ in range(dice.randint(1, 3)):
            broken[dice.randrange(header_end)] ^= 1 << dice.randrange(8)
        (folder / WEIGHTS_FILE).write_bytes(broken)
        refused += not is_admitted(folder)
    assert refused > 390


def test_a_configuration_with_flipped_bits_is_admitted_or_refused_but_never_breaks_the_inspection(
    tmp_path: Path,
) -> None:
    folder = write_adapter(tmp_path, {"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"q_proj": 8}})
    config = folder / "adapter_config.json"
    whole = config.read_bytes()
    dice = random.Random(3)
    outcomes = set()
    for _ in range(400):
        broken = bytearray(whole)
        broken[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        config.write_bytes(broken)
        outcomes.add(is_admitted(folder))
    assert outcomes == {True, False}


def test_a_large_adapter_is_read_in_a_second(tmp_path: Path) -> None:
    shapes = {f"model.layers.{layer}.mlp.up_proj": (14336, 4096) for layer in range(70)}
    tensors: dict[str, Tensor] = {}
    for module, (out, into) in shapes.items():
        tensors |= {a_name(module): tensor(16, into, dtype="BF16"), b_name(module): tensor(out, 16, dtype="BF16")}
    folder = write_adapter(tmp_path, {"r": 16, "target_modules": ["up_proj"]}, {})
    (folder / WEIGHTS_FILE).write_bytes(safetensors_bytes(tensors))
    begin = time.process_time()
    facts = inspect_adapter(folder, tiny_base(num_layers=70, linears=shapes), max_rank=16)
    assert time.process_time() - begin < 1
    assert facts.size_bytes > 40_000_000
