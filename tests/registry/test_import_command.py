"""`switchyard adapters import`: folders as trainers leave them; what is repaired, refused and asked."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.adapters.effect_proof import Probe, write_proof
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.adapter_folders import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    TinyBase,
    lora_tensors,
    safetensors_bytes,
    write_adapter,
)
from tests.support.cli_runner import Run, done, run
from tests.support.import_parts import SHORT, Import, Served, bring, renamed, served

__all__ = ["bring", "done", "run", "served"]


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
