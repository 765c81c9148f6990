from __future__ import annotations

import importlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TASKS = ("triage", "sentiment")


@pytest.fixture(autouse=True)
def examples_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def load(name: str) -> Any:
    return importlib.import_module(f"examples.{name}")


def rows(task: str, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ROOT / "examples" / task / f"{split}.jsonl").read_text().splitlines()]


def templates(task: str, split: str) -> list[str]:
    module = load(f"phrases_{task}")
    names = [f"{split}_ISSUES", f"{split}_URGENCY"] if task == "triage" else [split]
    return [template for name in names for group in getattr(module, name).values() for template in group]


def as_pattern(template: str, slots: dict[str, Any]) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    text = "".join(
        f"(?:{'|'.join(map(re.escape, slots[part]))})" if index % 2 else re.escape(part)
        for index, part in enumerate(parts)
    )
    return re.compile(text, re.IGNORECASE)


@pytest.mark.parametrize("task", TASKS)
def test_the_shipped_data_is_what_the_generator_writes(task: str, tmp_path: Path) -> None:
    load("generate").generate(tmp_path)
    for split in ("train", "heldout"):
        shipped = ROOT / "examples" / task / f"{split}.jsonl"
        assert (tmp_path / task / f"{split}.jsonl").read_bytes() == shipped.read_bytes()


def test_another_seed_writes_other_rows(tmp_path: Path) -> None:
    load("generate").generate(tmp_path, seed=1)
    written = (tmp_path / "triage" / "train.jsonl").read_bytes()
    assert written != (ROOT / "examples" / "triage" / "train.jsonl").read_bytes()


@pytest.mark.parametrize("task", TASKS)
def test_training_and_heldout_templates_are_disjoint(task: str) -> None:
    train, heldout = templates(task, "TRAIN"), templates(task, "HELDOUT")
    assert len(set(train)) == len(train)
    assert not {text.lower() for text in train} & {text.lower() for text in heldout}


@pytest.mark.parametrize("task", TASKS)
def test_no_heldout_row_can_be_made_from_training_templates(task: str) -> None:
    """Not even by filling slots: no whole sentence that a training template can write occurs in a held-out row."""
    module = load(f"phrases_{task}")
    patterns = [as_pattern(template, module.SLOTS) for template in templates(task, "TRAIN")]
    prompt_of = load("generate").prompt_of
    leaks = [
        (pattern.pattern, text)
        for text in map(prompt_of, rows(task, "heldout"))
        for pattern in patterns
        if pattern.search(text)
    ]
    assert leaks == []


@pytest.mark.parametrize("task", TASKS)
def test_heldout_prompts_are_new_unique_and_many(task: str) -> None:
    prompt_of = load("generate").prompt_of
    train, heldout = list(map(prompt_of, rows(task, "train"))), list(map(prompt_of, rows(task, "heldout")))
    assert not set(train) & set(heldout)
    assert len(set(heldout)) == len(heldout) >= 240


def test_every_answer_occurs_often_enough_in_both_splits() -> None:
    for task, least in (("triage", 8), ("sentiment", 40)):
        for split in ("train", "heldout"):
            answers = Counter(load("measure").prompt_and_reference(row)[1] for row in rows(task, split))
            assert len(answers) == (15 if task == "triage" else 5)
            assert min(answers.values()) >= least


def test_triage_answers_are_compact_json() -> None:
    for row in rows("triage", "heldout"):
        answer = row["messages"][-1]["content"]
        assert answer == json.dumps(json.loads(answer), separators=(",", ":"))


def test_the_three_shots_share_no_label() -> None:
    measure = load("measure")
    shots = measure.pick_shots(rows("triage", "train"))
    answers = [json.loads(shot["messages"][-1]["content"]) for shot in shots]
    assert len(shots) == 3
    assert len({answer["team"] for answer in answers}) == len({answer["priority"] for answer in answers}) == 3


def test_the_measurement_compares_with_the_best_way_of_the_base() -> None:
    measure = load("measure")
    results = {
        "adapter": [True] * 9 + [False],
        "base, zero-shot": [False] * 10,
        "base, 3-shot": [True] * 4 + [False] * 6,
        "base, constrained": [True] * 2 + [False] * 8,
    }
    found = measure.summary("triage", results)
    assert found["base_best"] == "base, 3-shot"
    assert found["difference"]["points"] == pytest.approx(50)
    assert found["difference"]["low"] > 0
    assert found["scores"]["adapter"]["correct"] == 9
