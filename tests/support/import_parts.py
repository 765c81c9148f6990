"""`switchyard adapters import`, and what engines get of what it published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.adapter_folders import (
    CONFIG_FILE,
    LINEARS,
    WEIGHTS_FILE,
    Tensor,
    lora_tensors,
)
from tests.support.cli_runner import Outcome, Run

Import = Callable[..., Outcome]
SHORT = len("base_model.model.")
EMBED = "base_model.model.model.embed_tokens.weight"
ONLY_Q = {name: item for name, item in lora_tensors().items() if ".q_proj." in name}
K_AT_2 = {module: 2 for module in LINEARS if module.endswith("k_proj")}
UNSLOTH = (
    r"(?:.*?(?:vision|language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?"
    r"(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj).*?)"
    r"|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|k_proj)))"
)


@pytest.fixture
def bring(run: Run, state_dir: Path) -> Import:
    """Import a folder as the next version of acme/x, without measuring its effect."""

    def bring(folder: Path | str, *options: str) -> Outcome:
        return run("adapters", "import", folder, "--to", "acme/x", "--base", "tiny", "--no-prove", *options)

    return bring


@pytest.fixture
def served(tmp_path: Path) -> Callable[[], tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]]:
    """Configuration, tensors and lineage of the newest version, as engines get them."""

    def served() -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
        with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
            version = registry.adapters.all()[-1]
            folder = registry.version_files.materialise(version.manifest_digest)
        config = json.loads((folder / CONFIG_FILE).read_bytes())
        return config, read_tensors((folder / WEIGHTS_FILE).read_bytes()), version.lineage

    return served


Served = Callable[[], tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]]


def read_tensors(data: bytes) -> dict[str, Tensor]:
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {
        name: Tensor(item["dtype"], tuple(item["shape"]), data[start:][slice(*item["data_offsets"])])
        for name, item in header.items()
    }


def renamed(change: Callable[[str], str]) -> dict[str, Tensor]:
    return {change(name): item for name, item in lora_tensors().items()}
