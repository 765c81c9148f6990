"""Adapters that PEFT itself saved, in the ways that trainers save them: what an import publishes answers as they do."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.names import parse_ref
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.cli_runner import Run, run
from trainer.forward import token_logprobs

__all__ = ["run"]
pytestmark = pytest.mark.training
TEXTS = [tuple(range(3, 40)), tuple(range(90, 50, -1))]
LORA: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj"], "task_type": "CAUSAL_LM"}
UNSLOTH = r"(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|v_proj|down_proj)))"


@pytest.fixture(scope="module")
def stocked(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with the base and a tenant; never written to."""
    folder = tmp_path_factory.mktemp("stocked") / "state"
    with Registry.open(RegistrySettings(state_dir=folder)) as registry:
        registry.bases.register("tiny", base)
        registry.tenants.create("acme")
    return folder


@pytest.fixture
def registry(stocked: Path, tmp_path: Path) -> Iterator[Registry]:
    """A copy of it for one test."""
    state_dir = shutil.copytree(stocked, tmp_path / "state", dirs_exist_ok=True)  # `run` may have made it
    with Registry.open(RegistrySettings(state_dir=state_dir)) as registry:
        yield registry


def load(base: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def trained(base: Path, adapter: str = "default", **settings: Any) -> Any:
    """A PEFT model whose LoRA halves are anything but at their beginning."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    model = get_peft_model(load(base), LoraConfig(**{**LORA, **settings}), adapter_name=adapter)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name or "lora_embedding_A" in name:
                weight.normal_(0, 0.1)
    return model.eval()


def dump(state: dict[str, Any], model: Any, folder: Path, only_lora: bool = True) -> None:
    """The state dict as a training loop of one's own writes it, beside PEFT's configuration."""
    from safetensors.torch import save_file

    folder.mkdir()
    kept = {name: weight.contiguous().clone() for name, weight in state.items() if "lora_" in name or not only_lora}
    save_file(kept, folder / "adapter_model.safetensors")
    model.peft_config[next(iter(model.peft_config))].save_pretrained(folder)


def save(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)


def save_compiled(model: Any, folder: Path) -> None:
    import torch

    dump(torch.compile(model).state_dict(), model, folder)


def save_wrapped(model: Any, folder: Path) -> None:
    import torch

    wrapper = torch.nn.Module()
    wrapper.module = model  # what DistributedDataParallel does to names
    dump(torch.compile(wrapper).state_dict(), model, folder)


def save_everything(model: Any, folder: Path) -> None:
    dump(model.state_dict(), model, folder, only_lora=False)


def save_inner(model: Any, folder: Path) -> None:
    state = model.state_dict()
    dump({name.removeprefix("base_model.model.model."): weight for name, weight in state.items()}, model, folder)


Saver = Callable[[Any, Path], None]
SAVED: dict[str, tuple[dict[str, Any], Saver, bool]] = {
    "plainly": ({}, save, False),
    "in bfloat16's range": ({"use_rslora": True, "lora_dropout": 0.1}, save, False),
    "compiled": ({}, save_compiled, True),
    "compiled around DDP": ({}, save_wrapped, True),
    "with everything": ({}, save_everything, True),
    "without any prefix": ({}, save_inner, True),
    "with Unsloth's pattern": ({"target_modules": UNSLOTH}, save, True),
    "all-linear": ({"target_modules": "all-linear"}, save, False),
    "with ranks and alphas by pattern": (
        {
            "target_modules": "all-linear",
            "rank_pattern": {r"^model\.layers\.0\.self_attn\.q_proj": 2, r".*\.(up|down)_proj": 6},
            "alpha_pattern": {r".*layers\.1\..*_proj": 3.5, "q_proj": 12},
        },
        save,
        True,
    ),
    "for one layer": ({"layers_to_transform": [1], "layers_pattern": "layers"}, save, True),
    "with an exclusion": ({"target_modules": "all-linear", "exclude_modules": r".*layers\.0.*"}, save, True),
    "with an untrained output layer": ({"modules_to_save": ["lm_head"]}, save, True),
    "with all biases": ({"bias": "all"}, save, True),
    "from a gaussian": ({"init_lora_weights": "gaussian"}, save, True),
    "with embeddings": ({"target_modules": ["q_proj", "embed_tokens"]}, save, True),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch.compile's own
@pytest.mark.parametrize(("settings", "saver", "repaired"), SAVED.values(), ids=SAVED)
def test_what_is_published_answers_as_the_model_that_was_saved(
    registry: Registry, base: Path, tmp_path: Path, run: Run, settings: dict[str, Any], saver: Saver, repaired: bool
) -> None:
    from peft import PeftModel

    model = trained(base, **settings)
    saver(model, tmp_path / "saved")
    done = run("adapters", "import", tmp_path / "saved", "--to", "acme/x", "--base", "tiny", "--no-prove")
    assert done.status == 0, done.err
    assert ("repaired: " in done.out) == repaired
    version = registry.adapters.get(parse_ref("acme/x@1.0"))
    folder = registry.version_files.materialise(version.manifest_digest)
    config = json.loads((folder / "adapter_config.json").read_bytes())
    assert isinstance(config["target_modules"], list)
    loaded = PeftModel.from_pretrained(load(base), folder).eval()
    for mine, published in zip(token_logprobs(model, TEXTS), token_logprobs(loaded, TEXTS), strict=True):
        assert published == pytest.approx(mine, abs=1e-5)
    assert token_logprobs(load(base), TEXTS)[0] != pytest.approx(token_logprobs(loaded, TEXTS)[0], abs=1e-2)


def test_an_adapter_of_another_name_lies_in_a_folder_of_that_name(
    registry: Registry, base: Path, tmp_path: Path, run: Run
) -> None:
    trained(base, adapter="support").save_pretrained(tmp_path / "saved")
    command = ("--to", "acme/x", "--base", "tiny", "--no-prove")
    refused = run("adapters", "import", tmp_path / "saved", *command)
    assert refused.status == 1
    assert str(tmp_path / "saved" / "support") in refused.err
    assert run("adapters", "import", tmp_path / "saved" / "support", *command).status == 0


@pytest.mark.filterwarnings("ignore:`lora_bias=True` was passed")
@pytest.mark.filterwarnings("ignore:Adapter 'default'. 4 LoRA tensor.s. have invalid shape")  # PEFT means the biases
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"use_dora": True}, "no low-rank update"),
        ({"init_lora_weights": "pissa"}, "path_initial_model_for_weight_conversion"),
        ({"init_lora_weights": "olora"}, "path_initial_model_for_weight_conversion"),
        ({"lora_bias": True}, "lora_bias"),
    ],
    ids=["DoRA", "PiSSA", "OLoRA", "a trained bias"],
)
def test_what_is_no_plain_lora_is_refused_with_the_way_out(
    registry: Registry, base: Path, tmp_path: Path, run: Run, settings: dict[str, Any], said: str
) -> None:
    import torch

    model = trained(base, **settings)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("lora_B.default.bias"):
                weight.fill_(0.5)
    save(model, tmp_path / "saved")
    refused = run("adapters", "import", tmp_path / "saved", "--to", "acme/x", "--base", "tiny")
    assert refused.status == 1
    assert said in refused.err


def test_a_pickle_is_converted_by_the_command_that_the_refusal_names(
    registry: Registry, base: Path, tmp_path: Path, run: Run
) -> None:
    folder = tmp_path / "it's saved"
    trained(base).save_pretrained(folder, safe_serialization=False)
    command = ("adapters", "import", folder, "--to", "acme/x", "--base", "tiny", "--no-prove")
    refused = run(*command)
    assert "[pickle_file]" in refused.err
    convert = refused.err.partition("run: ")[2].strip().replace("python -c", f"{sys.executable} -c", 1)
    subprocess.run(["sh", "-c", convert], check=True, timeout=100)
    assert run(*command).status == 0


def test_an_import_without_a_proof_is_measured_at_once(
    registry: Registry, base: Path, tmp_path: Path, run: Run
) -> None:
    save(trained(base), tmp_path / "saved")
    done = run("adapters", "import", tmp_path / "saved", "--to", "acme/x", "--base", "tiny", "--json")
    assert done.status == 0, done.err
    assert "measuring acme/x@1.0" in done.err
    assert done.document["proof"]["attached"] is True
    assert done.document["proof"]["largest_effect"] > 0.1
    assert "ok" in run("adapters", "list", "acme").out


def test_a_base_that_cannot_be_loaded_leaves_the_import_published(
    registry: Registry, base: Path, tmp_path: Path, run: Run
) -> None:
    save(trained(base), tmp_path / "saved")
    registry.bases.register("broken", broken_copy(base, tmp_path / "broken"))
    done = run("adapters", "import", tmp_path / "saved", "--to", "acme/x", "--base", "broken", "--yes")
    assert done.status == 0, done.err
    assert "its effect could not be measured: " in done.err
    assert "published acme/x@1.0" in done.out


def broken_copy(base: Path, folder: Path) -> Path:
    """The base with a model type that transformers does not have."""
    folder.mkdir()
    for file in base.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "of-tomorrow"}))
    return folder
