"""Faults of rows as people read them: all at once, before anything is loaded, and what is alike in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_base import STOP
from tests.support.tiny_recipe import tiny_recipe
from trainer.data.faults import DataError, Fault
from trainer.pipeline import Plan, run
from trainer.watch import Unwatched

ROOT = Path(__file__).parents[2]


def told(*faults: Fault) -> list[str]:
    first, *lines = str(DataError(("d.jsonl", faults))).splitlines()
    assert first == f"d.jsonl: {len(faults)} fault(s)"
    return [line.strip() for line in lines]


def test_the_same_fault_of_many_lines_is_one_line_with_their_number() -> None:
    assert told(*(Fault(line, "bad", "no row; mend it") for line in (9, 1, 2, 3, 5))) == [
        "5 lines (1-3, 5, 9): [bad] no row; mend it"
    ]
    many = told(*(Fault(line, "bad", "no row") for line in range(1, 100, 2)))
    assert many == ["50 lines (1, 3, 5, 7, 9, 11, 13, 15, 17, 19, …): [bad] no row"]


def test_faults_that_differ_in_numbers_alone_are_one_line_when_they_are_many() -> None:
    faults = [Fault(line, "too_long", f"{line * 100} tokens; shorten it") for line in (4, 5, 6, 8)]
    assert told(*faults[:3]) == [f"line {fault.line}: [too_long] {fault.message}" for fault in faults[:3]]
    assert told(*faults) == ["4 lines (4-6, 8): [too_long] in line 4: 400 tokens; shorten it"]


def test_one_kind_of_fault_hides_no_other() -> None:
    faults = [*(Fault(line, "bad", "no row") for line in range(1, 1000)), Fault(1000, "worse", "no 'a'")]
    assert told(*faults) == ["999 lines (1-999): [bad] no row", "line 1000: [worse] no 'a'"]
    other = told(*(Fault(line, "bad", f"no {chr(64 + line)!r}") for line in range(1, 26)))
    assert (len(other), other[-1]) == (21, "... and 5 more")


def chat(asked: str, answer: str = "yes") -> str:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns})


def write_task(folder: Path, train: list[str], heldout: list[str], **recipe: Any) -> Path:
    (folder / "train.jsonl").write_text("\n".join(train))
    (folder / "heldout.jsonl").write_text("\n".join(heldout))
    (folder / "recipe.toml").write_text(tiny_recipe(**recipe))
    return folder / "recipe.toml"


@pytest.fixture
def without_weights(base: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.mark.training
def test_special_tokens_of_both_files_are_listed_with_the_other_faults_and_nothing_heavy_is_loaded(
    without_weights: Path, tmp_path: Path
) -> None:
    train = [chat("a"), "{", chat(f"say {STOP}"), *(chat(f"b {n}", f"no{STOP}") for n in range(30))]
    recipe = write_task(tmp_path, train, [chat("c"), chat("d", "<|im_start|>"), "[]"])
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "switchyard", "train", recipe, "--base", without_weights],
        cwd=ROOT,
        env={"SWITCHYARD_STATE_DIR": str(tmp_path / "state"), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    said = [line.strip() for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert [line.split(" quotes")[0].split(" not JSON")[0] for line in said[-7:]] == [
        f"error: {tmp_path / 'train.jsonl'}: 32 fault(s)",
        "line 2: [bad_json]",
        "line 3: [special_token_in_prompt] messages[0].content",
        "30 lines (4-33): [special_token_in_answer] messages[1].content",
        f"{tmp_path / 'heldout.jsonl'}: 2 fault(s)",
        "line 2: [special_token_in_answer] messages[1].content",
        "line 3: [data_type] the row is a list; write one JSON object per line, without a list around them",
    ]
    assert "| torch\n" not in done.stderr
    assert "| transformers\n" not in done.stderr


@pytest.mark.training
def test_what_only_the_tokenizer_can_tell_is_listed_for_both_files_before_the_weights_are_loaded(
    without_weights: Path, tmp_path: Path
) -> None:
    recipe = write_task(tmp_path, [chat("a"), chat("b" * 90)], [chat("c" * 90)], max_length_tokens=64)
    with pytest.raises(DataError) as caught:
        run(Plan(recipe, str(without_weights), publish=False), Unwatched())
    assert [(Path(file).name, [fault.code for fault in faults]) for file, faults in caught.value.files] == [
        ("train.jsonl", ["no_label_tokens"]),
        ("heldout.jsonl", ["no_label_tokens"]),
    ]
