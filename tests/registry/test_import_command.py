"""`switchyard adapters import`: folders as trainers leave them; what is repaired, refused and asked."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from registry.adapters.effect_proof import Probe, write_proof
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.adapter_folders import (
    CONFIG_FILE,
    LINEARS,
    WEIGHTS_FILE,
    Tensor,
    TinyBase,
    lora_config,
    lora_tensors,
    safetensors_bytes,
    tensor,
    write_adapter,
)
from tests.support.cli_runner import Outcome, Run, done, run

__all__ = ["done", "run"]
Import = Callable[..., Outcome]
SHORT = len("base_model.model.")
EMBED = "base_model.model.model.embed_tokens.weight"
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


def test_only_two_files_of_a_trainers_folder_are_taken(bring: Import, served: Served, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "run")
    for name in ("training_args.bin", "optimizer.pt", "model.safetensors", "scheduler.pkl", "README.md"):
        (folder / name).write_bytes(b"x")
    for name in (".git", "checkpoint-500", "global_step500"):
        (folder / name).mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "dangling").symlink_to("gone")
    for number in range(300):
        (folder / f"events.{number}").touch()
    outcome = bring(folder)
    assert outcome.status == 0, outcome.err
    assert "repaired" not in outcome.out
    assert served()[1] == lora_tensors()
    assert served()[2] == {"source": "import", "folder": "run"}


def test_links_of_an_operators_command_are_followed(bring: Import, served: Served, tmp_path: Path) -> None:
    real = write_adapter(tmp_path / "blobs")
    folder = tmp_path / "snapshot"
    folder.mkdir()
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (folder / name).symlink_to(real / name)
    (tmp_path / "latest").symlink_to(folder)
    assert bring(tmp_path / "latest").status == 0
    assert served()[1] == lora_tensors()


def test_what_is_no_file_is_refused_and_never_waited_for(bring: Import, tmp_path: Path) -> None:
    breaks: list[Callable[[Path], object]] = [
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        Path.mkdir,
        lambda path: path.symlink_to(path),
    ]
    for number, break_it in enumerate(breaks):
        folder = write_adapter(tmp_path / f"broken-{number}")
        (folder / WEIGHTS_FILE).unlink()
        break_it(folder / WEIGHTS_FILE)
        outcome = bring(folder)
        assert outcome.status == 1
        assert WEIGHTS_FILE in outcome.err
        assert "not_a_regular_file" in outcome.err or "file_unreadable" in outcome.err


def test_what_is_inspected_is_what_is_published_whoever_writes_meanwhile(
    bring: Import, served: Served, tmp_path: Path
) -> None:
    folder = write_adapter(tmp_path / "busy")
    whole = (folder / WEIGHTS_FILE).read_bytes()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for data in (b"garbage", whole):
                (folder / "new").write_bytes(data)
                os.replace(folder / "new", folder / WEIGHTS_FILE)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        outcomes = [bring(folder) for _ in range(5)]
    finally:
        stop.set()
        writer.join()
    assert {outcome.status for outcome in outcomes} <= {0, 1}
    if any(outcome.status == 0 for outcome in outcomes):
        assert served()[1] == lora_tensors()


ELSEWHERE: dict[str, tuple[list[str], str]] = {
    "a pickle": (["adapter_model.bin"], "weights_only=True"),
    "parts": ([f"adapter_model-0000{part}-of-00002.safetensors" for part in (1, 2)], "one file; run"),
    "checkpoints": ([f"checkpoint-{step}/{WEIGHTS_FILE}" for step in (5, 9)], "checkpoint-5"),
    "an adapter by name": (["custom/adapter_model.safetensors"], "run/custom"),
    "a whole model": (["model.safetensors"], "a whole model"),
    "MLX": (["adapters.safetensors"], "MLX"),
    "nothing": ([], "save_pretrained"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "hint"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_where_the_weights_are_not_the_refusal_says_where_they_are(
    bring: Import, tmp_path: Path, files: list[str], hint: str
) -> None:
    folder = write_adapter(tmp_path / "run")
    (folder / WEIGHTS_FILE).unlink()
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    outcome = bring(folder)
    assert outcome.status == 1
    assert hint in outcome.err


@pytest.mark.parametrize("source", ["", "a" * 5_000, "bad\0name", "a/b/c", "../gone", "~nobody-here/x"])
def test_what_is_no_folder_and_no_repository_is_one_sentence(bring: Import, source: str) -> None:
    outcome = bring(source)
    assert outcome.status == 1
    assert outcome.err.startswith("error: source is ")


def test_a_file_in_place_of_a_folder_is_told_so(bring: Import, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "run")
    assert "give the folder that it lies in" in bring(folder / WEIGHTS_FILE).err


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


FORMATS = {
    "kohya": lambda n: (
        "lora_te_"
        + n[SHORT:].split(".lora_")[0].replace(".", "_")
        + (".lora_down.weight" if "lora_A" in n else ".lora_up.weight")
    ),
    "kohya, bare": lambda n: n.replace("lora_A", "lora_down").replace("lora_B", "lora_up"),
    "MLX": lambda n: n[SHORT:].replace("lora_A.weight", "lora_a").replace("lora_B.weight", "lora_b"),
    "torchtune": lambda n: n[SHORT + 6 :].replace("lora_A", "lora_a").replace("lora_B", "lora_b"),
    "NeMo": lambda n: n.replace("lora_A", "adapter.linear_in").replace("lora_B", "adapter.linear_out"),
    "LyCORIS": lambda n: n.replace("lora_A.weight", "hada_w1_a").replace("lora_B.weight", "hada_w1_b"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_another_programs_format_is_named_and_once(bring: Import, run: Run, tmp_path: Path, kind: str) -> None:
    outcome = bring(write_adapter(tmp_path / "run", tensors=renamed(FORMATS[kind])))
    assert outcome.status == 1
    assert outcome.err.count("[format_foreign]") == 1
    assert kind.partition(",")[0] in outcome.err
    assert "PEFT's format" in outcome.err
    published = run("adapters", "publish", "acme/x", tmp_path / "run", "--base", "tiny")
    assert published.err.count("[format_foreign]") == 1
    assert "tensor_unsupported" not in outcome.err + published.err


UNREADABLE: dict[str, dict[str, Any]] = {
    "an alpha that never ends": {"alpha_pattern": {"(x+)+y": 3}},
    "an alpha that looks ahead": {"alpha_pattern": {"(?=q)q_proj": 3}},
    "targets without tensors": {"target_modules": "(.+)+_proj", "target_parameters": ["x"]},
    "layers left out": {"target_modules": "(.+)+_proj", "layers_to_transform": [1]},
}


@pytest.mark.parametrize("changes", UNREADABLE.values(), ids=UNREADABLE)
def test_an_import_is_not_told_to_import(bring: Import, run: Run, tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = write_adapter(tmp_path / "run", changes)
    for options in ((), ("--no-repair",)):
        refused = bring(folder, *options)
        assert refused.status == 1
        assert "[pattern_not_explicit]" in refused.err
        assert "write them out" in refused.err
        assert "adapters import" not in refused.err
    published = run("adapters", "publish", "acme/x", folder, "--base", "tiny")
    assert "adapters import" in published.err


def modules(tensors: Mapping[str, Tensor]) -> list[str]:
    return sorted({name[SHORT:].split(".lora_")[0] for name in tensors})


ONLY_Q = {name: item for name, item in lora_tensors().items() if ".q_proj." in name}
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


OTHER = [
    "C:\\models\\Qwen2.5-0.5B", "D:\\llm\\mistral", "C:\\models\\tiny-instruct", "org/x", "x",
    "org/gpt-neo-1b", "gpt2", "meta-llama/Llama-3.1-8B-Instruct", "/models/Qwen2.5-0.5B", "tiny-instruct",
    "unsloth/tiny-2", "/kaggle/input/gemma-2/transformers/gemma-2-2b/1",
]  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_an_adapter_of_another_base_by_name_takes_an_explicit_yes(
    bring: Import, served: Served, tmp_path: Path, name: str
) -> None:
    folder = write_adapter(tmp_path / "run", {"base_model_name_or_path": name})
    refused = bring(folder)
    assert refused.status == 1
    assert f"trained on {name!r}, and the base here is 'tiny'" in refused.err
    assert "--yes" in refused.err
    accepted = bring(folder, "--yes")
    assert accepted.status == 0
    assert "warning: " in accepted.err
    assert served()[2]["named_base"] == name


SAME = [
    "C:\\models\\x", "C:/models/x/", "d:\\llm\\foo bar", "\\\\nas\\share\\thing", "/models/x", "~/stuff/abc", "file:///srv/x",
    "..\\x",
    None, "", "tiny", "org/tiny", "Org/Tiny", "unsloth/tiny-bnb-4bit", "unsloth/tiny-unsloth-bnb-4bit",
    "x/Tiny-GPTQ-Int4", "/home/me/models/tiny", "./tiny/", "C:\\models\\tiny", "/content/model",
    "./merged", "org/tiny@main", "outputs/merged",
    "https://huggingface.co/org/tiny/tree/main", "/kaggle/input/tiny/transformers/default/1",
    "output/checkpoint-500/merged/x/../final",
    "/root/.cache/huggingface/hub/models--org--tiny/snapshots/0123456789abcdef0123456789abcdef01234567", "/tmp/1234",
]  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_the_same_model_under_another_name_is_not_held_up(bring: Import, tmp_path: Path, name: str | None) -> None:
    outcome = bring(write_adapter(tmp_path / "run", {"base_model_name_or_path": name}))
    assert outcome.status == 0, outcome.err
    assert outcome.err == ""


def test_a_base_is_known_by_where_it_was_fetched_from_too(done: Run, run: Run, tmp_path: Path) -> None:
    folder = TinyBase().write(tmp_path / "prepared")
    (folder / "provenance.json").write_text('{"hub_id": "HuggingFaceTB/SmolLM2-135M-Instruct"}')
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        registry.bases.register("house-model", folder)
    done("tenants", "create", "acme")
    adapter = write_adapter(tmp_path / "run", {"base_model_name_or_path": "unsloth/smollm2-135m-instruct-bnb-4bit"})
    done("adapters", "import", adapter, "--to", "acme/x", "--base", "house-model", "--no-prove")


def test_repairs_leave_json_alone_on_stdout(bring: Import, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "run", tensors=renamed(lambda name: "module." + name))
    outcome = bring(folder, "--json")
    assert outcome.document["lineage"]["repairs"][0]["code"] == "wrapper_stripped"
    assert "repaired: " in outcome.err


def test_without_the_base_at_hand_an_import_says_how_to_prove_it(run: Run, bring: Import, tmp_path: Path) -> None:
    (tmp_path / "state" / "base-digests.json").unlink()  # what the registry knows of folders
    folder = write_adapter(tmp_path / "run")
    outcome = run("adapters", "import", folder, "--to", "acme/x", "--base", "tiny")
    assert outcome.status == 0, outcome.err
    assert "its effect is not measured now" in outcome.err
    assert "measure one: switchyard adapters prove acme/x@1.0" in outcome.out


def test_an_import_that_brings_its_proof_is_not_measured(run: Run, bring: Import, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "run")
    write_proof((Probe((3, 5, 7, 11), (1, 3), (-2.0, -3.0), (-0.5, -3.0)),), folder)
    outcome = run("adapters", "import", folder, "--to", "acme/x", "--base", "tiny", "--json")
    assert outcome.status == 0, outcome.err
    assert (outcome.document["proof"]["attached"], outcome.err) == (False, "")


def test_a_foreign_header_or_configuration_never_ends_in_a_traceback(bring: Import, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "run")
    huge = (
        '{"lora_dropout": 1e400}',
        '{"a":' * 5_000,
        "[" * 900 + "]" * 900,
        '{"r": 8, "r": 8}',
        '{"x": "\\udc00"}',
        "",
        "0",
    )
    for text in huge:
        (folder / CONFIG_FILE).write_text(text)
        outcome = bring(folder)
        assert (outcome.status, outcome.err.splitlines()[0]) == (1, "adapter refused:"), text[:20]
    write_adapter(folder)
    (folder / WEIGHTS_FILE).write_bytes(safetensors_bytes(lora_tensors(), {"format": "pt"})[:-1])
    assert "[data_truncated]" in bring(folder).err
