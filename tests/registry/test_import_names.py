"""`switchyard adapters import`: names that trainers wrap, and configurations that engines would misread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.adapter_folders import (
    CONFIG_FILE,
    LINEARS,
    WEIGHTS_FILE,
    Tensor,
    lora_config,
    lora_tensors,
    write_adapter,
)
from tests.support.cli_runner import done, run
from tests.support.import_parts import K_AT_2, ONLY_Q, SHORT, UNSLOTH, Import, Served, bring, renamed, served

__all__ = ["bring", "done", "run", "served"]

LANGUAGE = "language_model"
NAMES: dict[str, tuple[Callable[[str], str], str]] = {
    "the adapter's name": (lambda n: n.replace(".weight", ".default.weight"), "'default' was taken out of 28"),
    "another adapter's name": (lambda n: n.replace(".weight", ".my-task.weight"), "'my-task' was taken out"),
    "an adapter called weight": (lambda n: n.replace(".weight", ".weight.weight"), "'weight' was taken out"),
    "torch.compile after PEFT": (lambda n: "_orig_mod." + n, "'_orig_mod'"),
    "torch.compile before PEFT": (lambda n: n[:SHORT] + "_orig_mod." + n[SHORT:], "'_orig_mod'"),
    "torch.compile of each layer": (lambda n: n.replace(".mlp.", "._orig_mod.mlp."), "'_orig_mod'"),
    "DDP": (lambda n: "module." + n, "'module'"),
    "DDP before PEFT": (lambda n: n[:SHORT] + "module." + n[SHORT:], "'module'"),
    "DDP and torch.compile": (lambda n: "_orig_mod.module." + n, "'_orig_mod', 'module'"),
    "FSDP": (lambda n: "_fsdp_wrapped_module." + n.replace(".mlp", "._fsdp_wrapped_module.mlp"), "_fsdp_wrapped"),
    "checkpointing": (lambda n: n.replace(".self_attn", "._checkpoint_wrapped_module.self_attn"), "_checkpoint_wr"),
    "PEFT twice": (lambda n: n[:SHORT] + n, "'base_model.model'"),
    "Lightning": (lambda n: "model." + n, "'model'"),
    "PEFT around a class of one's own": (lambda n: n[:SHORT] + "model." + n[SHORT:], "'model'"),
    "no prefix": (lambda n: n[SHORT:], "'base_model.model.' was put before 28"),
    "no prefix, and an inner model": (lambda n: n[SHORT + 6 :], "'base_model.model.model.' was put before 28"),
    "PEFT around the inner model": (lambda n: n[:SHORT] + n[SHORT + 6 :], "'model.' was put before 28"),
    "a model of pictures": (lambda n: n.replace("model.layers", f"model.{LANGUAGE}.layers"), f"{LANGUAGE!r}"),
    "a model of pictures, of old": (lambda n: n[:SHORT] + f"{LANGUAGE}." + n[SHORT:], f"{LANGUAGE!r}"),
    "a model of pictures, bare": (lambda n: f"{LANGUAGE}." + n[SHORT:], f"{LANGUAGE!r}"),
    "a model of pictures, compiled": (lambda n: f"_orig_mod.{n[:SHORT]}{LANGUAGE}.{n[SHORT:]}", f"{LANGUAGE!r}"),
    "everything at once": (
        lambda n: "_orig_mod.module." + n.replace(".weight", ".a.weight").replace(".mlp", "._orig_mod.mlp"),
        "'a' was taken out",
    ),
}


@pytest.mark.parametrize(("change", "said"), NAMES.values(), ids=NAMES)
def test_names_of_wrappers_are_put_right_and_no_value_changes(
    bring: Import, served: Served, tmp_path: Path, change: Callable[[str], str], said: str
) -> None:
    folder = write_adapter(tmp_path / "run", tensors=renamed(change))
    refused = bring(folder, "--no-repair")
    assert refused.status == 1
    assert "[repair_needed]" in refused.err
    assert said in refused.err
    outcome = bring(folder)
    assert outcome.status == 0, outcome.err
    assert said in outcome.out
    config, tensors, lineage = served()
    assert tensors == lora_tensors()
    assert config == lora_config()
    assert any(said in repair["what"] for repair in lineage["repairs"])
    assert set(lineage["original_files"]) == {CONFIG_FILE, WEIGHTS_FILE}


def test_names_that_would_be_one_are_ambiguous(bring: Import, tmp_path: Path) -> None:
    names = lora_tensors() | {f"module.{name}": item for name, item in lora_tensors().items()}
    assert "[tensor_ambiguous]" in bring(write_adapter(tmp_path / "a", tensors=names)).err
    two = {n.replace(".weight", f".{kind}.weight"): i for kind in ("default", "ref") for n, i in lora_tensors().items()}
    refused = bring(write_adapter(tmp_path / "b", tensors=two))
    assert "tensors of several adapters: default, ref" in refused.err
    assert "selected_adapters=[NAME]" in refused.err


def test_a_prefix_that_could_be_several_is_not_guessed(bring: Import, tmp_path: Path) -> None:
    short = {n.replace("model.layers.0.", ""): i for n, i in lora_tensors().items() if ".layers.0." in n}
    outcome = bring(write_adapter(tmp_path / "a", tensors=short))
    assert outcome.status == 1
    assert "module_unknown" in outcome.err


OTHER_PARTS = {
    "eyes too": lambda n: n.replace("model.layers.1", "model.vision_tower.layers.1").replace(
        "model.layers.0", f"model.{LANGUAGE}.layers.0"
    ),
    "two of them": lambda n: n.replace("model.layers", f"model.{LANGUAGE}.first.layers"),
}


@pytest.mark.parametrize("change", OTHER_PARTS.values(), ids=OTHER_PARTS)
def test_a_language_model_that_the_base_does_not_prove_is_not_guessed(
    bring: Import, tmp_path: Path, change: Callable[[str], str]
) -> None:
    outcome = bring(write_adapter(tmp_path / "run", tensors=renamed(change)))
    assert outcome.status == 1
    assert LANGUAGE in outcome.err
    assert "module_unknown" in outcome.err


def modules(tensors: Mapping[str, Tensor]) -> list[str]:
    return sorted({name[SHORT:].split(".lora_")[0] for name in tensors})


FIRST_LAYER = {name: item for name, item in lora_tensors().items() if ".layers.0." in name}
ALL = sorted({module.rpartition(".")[2] for module in LINEARS})
CONFIGS: dict[str, tuple[dict[str, Any], Mapping[str, Tensor], dict[str, Any]]] = {
    "Unsloth's pattern": ({"target_modules": UNSLOTH}, lora_tensors(), {"target_modules": ALL}),
    "a pattern that never ends": ({"target_modules": "(.+)+_proj"}, ONLY_Q, {"target_modules": ["q_proj"]}),
    "a quick pattern": ({"target_modules": r".*\.(q|z)_proj"}, ONLY_Q, {"target_modules": ["q_proj"]}),
    "a pattern of other paths": ({"target_modules": r"lm\..*_proj"}, ONLY_Q, {"target_modules": ["q_proj"]}),
    "all-linear": ({"target_modules": "all-linear"}, lora_tensors(), {"target_modules": ALL}),
    "no targets": ({"target_modules": None}, FIRST_LAYER, {"target_modules": modules(FIRST_LAYER)}),
    "wrapped targets": ({"target_modules": ["base_model.model._orig_mod.model.layers.0.self_attn.q_proj",
                                            "module.model.layers.1.self_attn.q_proj"]}, ONLY_Q,
                        {"target_modules": modules(ONLY_Q)}),
    "some layers": ({"layers_to_transform": [0], "layers_pattern": "(.+)+"}, FIRST_LAYER,
                    {"target_modules": modules(FIRST_LAYER), "layers_to_transform": None, "layers_pattern": None}),
    "an exclusion": ({"exclude_modules": "(.+)+layers.1.*"}, FIRST_LAYER,
                     {"target_modules": modules(FIRST_LAYER), "exclude_modules": None}),
    "ranks by a pattern": ({"rank_pattern": {"(.*)*k_proj": 2}}, lora_tensors(ranks=K_AT_2),
                           {"rank_pattern": K_AT_2}),
    "anchored ranks": ({"rank_pattern": {f"^{module}": 2 for module in K_AT_2}}, lora_tensors(ranks=K_AT_2),
                       {"rank_pattern": K_AT_2}),
    "alphas by a pattern": ({"alpha_pattern": {r".*\.k_proj": 2}}, lora_tensors(), {"alpha_pattern": K_AT_2}),
    "settings of training": ({"eva_config": {"rho": 2}, "loftq_config": {"bits": 4}, "auto_mapping": {"a": "os"}},
                             lora_tensors(), {}),
    "empty settings of tomorrow": ({"use_quantum": False, "braid_config": None, "pattern_2": {}}, lora_tensors(), {}),
    "an init that is over": ({"init_lora_weights": "gaussian"}, lora_tensors(), {"init_lora_weights": True}),
    "no biases": ({"bias": "lora_only"}, lora_tensors(), {"bias": "none"}),
    "no biases at all": ({"bias": "all"}, lora_tensors(), {"bias": "none"}),
    "LoRA biases that are not there": ({"lora_bias": True}, lora_tensors(), {"lora_bias": False}),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "tensors", "expected"), CONFIGS.values(), ids=CONFIGS)
def test_patterns_become_lists_and_what_means_nothing_goes(
    bring: Import,
    served: Served,
    tmp_path: Path,
    changes: dict[str, Any],
    tensors: Mapping[str, Tensor],
    expected: dict[str, Any],
) -> None:
    folder = write_adapter(tmp_path / "run", changes, tensors)
    assert bring(folder, "--no-repair").status == 1
    outcome = bring(folder)
    assert outcome.status == 0, outcome.err
    config, published, lineage = served()
    unchanged = {key: value for key, value in lora_config().items() if key not in changes}
    assert config == unchanged | expected
    assert published == dict(tensors)
    assert lineage["repairs"]


def test_a_byte_order_mark_is_read_and_utf16_is_named(bring: Import, served: Served, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "run")
    text = (folder / CONFIG_FILE).read_text()
    (folder / CONFIG_FILE).write_bytes(text.encode("utf-8-sig"))
    assert "byte order mark" in bring(folder).out
    assert served()[0] == lora_config()
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        (folder / CONFIG_FILE).write_bytes(text.encode(encoding))
        refused = bring(folder)
        assert refused.status == 1
        assert "text in UTF-16" in refused.err
