"""What was trained is never lost: faults of a proof come before the training, and what fails after it can go on."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.names import parse_ref
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.cli_runner import Run, run
from tests.support.tiny_recipe import tiny_recipe

__all__ = ["run"]
pytestmark = pytest.mark.training
SYSTEM = "You are the helpful assistant of a house that answers left or right and nothing else, whatever it is asked. "
Write = Callable[..., Path]


def rows_of(words: list[str], before: str, after: str) -> str:
    documents = [
        {
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": f"{before}{word}{after}"},
                {"role": "assistant", "content": "A much longer answer" if index % 2 else "B"},
            ]
        }
        for index, word in enumerate(words)
    ]
    return "".join(json.dumps(document) + "\n" for document in documents)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(heldout: list[str], *, train: list[str] | None = None, before: str = "", after: str = "") -> Path:
        train = train or [f"{side} {number}" for number in range(4) for side in ("left", "right")]
        (tmp_path / "train.jsonl").write_text(rows_of(train, before, after))
        (tmp_path / "heldout.jsonl").write_text(rows_of(heldout, before, after))
        (tmp_path / "recipe.toml").write_text(tiny_recipe())
        return tmp_path / "recipe.toml"

    return write


@pytest.fixture
def tenant(run: Run) -> None:
    assert run("tenants", "create", "acme").status == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("", " - answer this, please, with left or right and nothing else, as it says in the rules of this house."),
    ],
)
def test_rows_that_begin_or_end_alike_are_proved_all_the_same(
    run: Run, base: Path, tmp_path: Path, write: Write, before: str, after: str
) -> None:
    recipe = write(["one", "two", "three", "four"], before=before, after=after)
    done = run("train", recipe, "--base", base, "--out", tmp_path / "out", "--no-publish", "--json")
    assert done.status == 0, done.err
    proof = json.loads((tmp_path / "out" / "effect_proof.json").read_text())
    texts = [tuple(probe["token_ids"]) for probe in proof["probes"]]
    assert len(set(texts)) == len(texts) >= 4
    assert max(map(len, texts)) <= 96


def test_few_heldout_rows_are_made_up_for_by_training_rows(run: Run, base: Path, tmp_path: Path, write: Write) -> None:
    done = run("train", write(["one"]), "--base", base, "--out", tmp_path / "out", "--no-publish", "--json")
    assert done.status == 0, done.err


def test_too_few_different_rows_cost_no_training(run: Run, base: Path, tmp_path: Path, write: Write) -> None:
    recipe = write(["one"], train=["left", "left"])
    refused = run("train", recipe, "--base", base, "--out", tmp_path / "out", "--no-publish")
    assert refused.status == 1
    assert "the data has 3 different rows" in refused.err
    assert "training on" not in refused.err


def test_a_folder_that_cannot_be_written_to_costs_no_training(
    run: Run, base: Path, tmp_path: Path, write: Write
) -> None:
    (tmp_path / "a file").write_text("")
    refused = run("train", write(["one", "two"]), "--base", base, "--out", tmp_path / "a file" / "out", "--no-publish")
    assert refused.status == 1
    assert "is no folder to write to; give --out" in refused.err
    assert "training on" not in refused.err


def test_a_folder_that_breaks_during_the_training_loses_nothing(
    run: Run, base: Path, tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "out" / "training.json" / "in the way").mkdir(parents=True)
    done = run("train", write(["one", "two"]), "--base", base, "--out", tmp_path / "out", "--no-publish", "--json")
    assert done.status == 0, done.err
    folder = Path(json.loads(done.out.splitlines()[-1])["folder"])
    assert folder.name.startswith("switchyard-trained-")
    assert f"cannot be written to any more; the adapter is in {folder}" in done.err
    assert (folder / "adapter_model.safetensors").exists()


@pytest.mark.usefixtures("tenant")
def test_what_fails_after_the_training_names_the_command_that_goes_on(
    run: Run, base: Path, tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, in_the_way = write(["one", "two", "three", "four"]), tmp_path / "state" / "blobs" / "blobs"
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("no folder")  # so that publishing cannot store anything
    failed = run("train", recipe, "--base", base)
    assert failed.status == 1
    assert "the object storage failed" in failed.err
    kept = next(line for line in failed.err.splitlines() if "the trained adapter is kept in" in line)
    command = shlex.split(kept.partition("go on with: ")[2])
    assert command[:2] == ["switchyard", "train"]
    in_the_way.unlink()
    done = run(*command[1:], "--json")
    assert done.status == 0, done.err
    assert "training on" not in done.err
    assert json.loads(done.out.splitlines()[-1])["version"] == "acme/tiny@1.0"
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        version = registry.adapters.get(parse_ref("acme/tiny@1.0"))
    assert version.lineage["source"] == "train"
    assert version.lineage["steps"] == 3
    assert version.proof is not None


def test_an_adapter_of_another_recipe_is_not_taken_up(run: Run, base: Path, tmp_path: Path, write: Write) -> None:
    recipe = write(["one", "two", "three", "four"])
    out = tmp_path / "out"
    assert run("train", recipe, "--base", base, "--out", out, "--no-publish").status == 0
    recipe.write_text(tiny_recipe(evaluation="max_rows = 4"))
    assert run("train", recipe, "--base", base, "--trained", out, "--no-publish").status == 0
    recipe.write_text(tiny_recipe(rank=8))
    refused = run("train", recipe, "--base", base, "--trained", out, "--no-publish")
    assert refused.status == 1
    assert "was trained from another recipe" in refused.err
    (out / "training.json").write_text("[" * 5000)
    refused = run("train", recipe, "--base", base, "--trained", out, "--no-publish")
    assert "holds no adapter that `switchyard train` saved" in refused.err
    refused = run("train", recipe, "--base", base, "--trained", out, "--out", out)
    assert refused.status == 2


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("chat_template.jinja", None, 'rows of form "chat", and the base has no chat template'),
        ("tokenizer.json", "{", "does not load (Expecting property name"),
        ("model.safetensors", "x", "does not load ("),
    ],
)
def test_a_base_that_cannot_be_trained_on_is_one_message(
    run: Run, base: Path, tmp_path: Path, write: Write, file: str, content: str | None, says: str
) -> None:
    broken = shutil.copytree(base, tmp_path / "broken")
    (broken / file).unlink() if content is None else (broken / file).write_text(content)
    refused = run("train", write(["one", "two"]), "--base", broken, "--no-publish")
    assert refused.status == 1
    assert says in refused.err
