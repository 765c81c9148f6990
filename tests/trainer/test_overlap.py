"""Held-out rows that training sees, copies within training rows, and rows that are held out of one file."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.cli_runner import Run, run
from trainer.data.faults import DataError
from trainer.data.overlap import Overlap, find_overlap, rows_of
from trainer.data.rows import Example, Message
from trainer.data.sets import Sets, read_sets
from trainer.errors import RecipeError
from trainer.recipe import read_recipe

__all__ = ["run"]
RECIPE = """
[adapter]
tenant = "acme"
name = "tiny"
[data]
train = "train.jsonl"
format = "{format}"
{data}
[training]
max_steps = 3
[evaluation]
metric = "{metric}"
"""


def pair(prompt: str, completion: str = "yes") -> dict[str, str]:
    return {"prompt": prompt, "completion": completion}


def chat(*contents: str) -> dict[str, Any]:
    roles = ("user", "assistant") * len(contents)
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]}


def sets_of(
    folder: Path, train: list[Any], heldout: list[Any] | None = None, data: str = "", metric: str = "label_exact"
) -> Sets:
    format = "chat" if "messages" in train[0] else "completion"
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train))
    if heldout is not None:
        (folder / "heldout.jsonl").write_text("".join(json.dumps(row) + "\n" for row in heldout))
        data += '\nheldout = "heldout.jsonl"'
    (folder / "recipe.toml").write_text(RECIPE.format(format=format, data=data, metric=metric))
    return read_sets(read_recipe(folder / "recipe.toml"))


def said(sets: Sets) -> list[str]:
    return [found.sentence for found in sets.findings]


TRAIN = [pair(f"Is {number} even?", "no" if number % 3 == 0 else "yes") for number in range(100)]


@pytest.mark.parametrize(
    "copy",
    [
        pair("Is 7 even?"),
        pair("  is 7\t EVEN?\n"),
        pair("Is ７ even?"),  # a full-width digit
        pair("Is 7 even?", "no"),
    ],
)
def test_a_heldout_row_that_training_sees_is_refused_with_its_line(tmp_path: Path, copy: dict[str, str]) -> None:
    heldout = [pair(f"Is {number} odd?") for number in range(20)]
    assert sets_of(tmp_path, TRAIN, heldout).overlap.seen == 0
    with pytest.raises(RecipeError, match=r"heldout\.jsonl: 1 of 21 held-out rows ask .* \(lines 21\).*max_seen_share"):
        sets_of(tmp_path, TRAIN, [*heldout, copy])
    allowed = sets_of(tmp_path, TRAIN, [*heldout, copy], "max_seen_share = 0.05")
    assert (allowed.overlap.seen, allowed.overlap.seen_answers) == (1, int(copy["completion"] == "yes"))
    assert "1 of 21 held-out rows ask what training rows ask" in " ".join(said(allowed))


def test_a_share_below_the_setting_is_said_and_no_more(tmp_path: Path) -> None:
    heldout = [*(pair(f"Is {number} odd?") for number in range(199)), pair("Is 7 even?")]
    assert said(sets_of(tmp_path, TRAIN, heldout)) == [
        "1 of 200 held-out rows ask what training rows ask, 1 of them with the same answer (line 200)"
    ]


@pytest.mark.parametrize("make", ["copy", "hardlink"])
def test_a_copy_of_the_training_file_is_refused_by_the_command_before_anything_is_loaded(
    run: Run, tmp_path: Path, make: str
) -> None:
    sets_of(tmp_path, TRAIN)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("format =", 'heldout = "copy.jsonl"\nformat ='))
    copy = tmp_path / "copy.jsonl"
    shutil.copy(tmp_path / "train.jsonl", copy) if make == "copy" else copy.hardlink_to(tmp_path / "train.jsonl")
    refused = run("train", recipe, "--no-publish")
    assert refused.status == 1
    assert "100 of 100 held-out rows ask what training rows ask, 100 of them with the same answer" in refused.err
    assert "preparing the base model" not in refused.err


def test_exact_copies_among_training_rows_are_counted_and_said(tmp_path: Path) -> None:
    train = [*TRAIN, TRAIN[0], TRAIN[0], pair("is 1 even?")]
    sets = sets_of(tmp_path, train, [pair("Is it odd?")])
    assert sets.overlap.copies == 2
    assert said(sets) == [
        "exact copies of earlier rows: 2 of 103 rows (lines 101, 102)",
    ]


def test_conversations_that_only_begin_alike_are_not_the_same(tmp_path: Path) -> None:
    train = [chat("hi", "hello", f"Is {number} even?", "yes") for number in range(20)]
    assert sets_of(tmp_path, train, [chat("hi", "hello", "Is it odd?", "yes")]).overlap.seen == 0
    with pytest.raises(RecipeError, match="1 of 1 held-out rows"):
        sets_of(tmp_path, train, [chat("Hi", "hello")])


def test_a_system_prompt_is_part_of_what_is_asked() -> None:
    asked = Message("user", "a")
    train = [Example(1, (Message("system", "be kind"), asked), "b")]
    assert find_overlap(train, [Example(1, (asked,), "b")]).seen == 0
    assert find_overlap(train, train) == Overlap(1, 0, 1, 1, 1, (1,))


def test_without_heldout_rows_a_share_is_held_out_and_said(tmp_path: Path) -> None:
    sets = sets_of(tmp_path, TRAIN)
    assert (sets.train.rows, sets.heldout.rows, sets.overlap.seen) == (85, 15, 0)
    assert said(sets) == [
        "no held-out rows were given: 15 of 100 rows are held out "
        "(seed 0; rows with nearly the same prompt stay together)"
    ]
    lines = {example.line for example in sets.heldout.examples}
    assert {example.line for example in sets_of(tmp_path, TRAIN).heldout.examples} == lines
    assert {example.line for example in sets_of(tmp_path, TRAIN, data="heldout_seed = 1").heldout.examples} != lines
    assert sets_of(tmp_path, TRAIN, data="heldout_share = 0.3").heldout.rows == 30


def test_a_row_stays_on_its_side_when_others_are_added_or_reordered(tmp_path: Path) -> None:
    def held(rows: list[dict[str, str]]) -> set[str]:
        return {str(example.prompt) for example in sets_of(tmp_path, rows).heldout.examples}

    shuffled = random.Random(1).sample(TRAIN, len(TRAIN))
    assert held(shuffled) == held(TRAIN)
    assert len(held([*TRAIN, pair("Is it odd?")]) ^ held(TRAIN)) <= 2


def test_rows_with_the_same_prompt_are_held_out_together(tmp_path: Path) -> None:
    train = [pair(f"{blanks}Is {number % 20} even?", str(number)) for number in range(100) for blanks in ("", " ")]
    sets = sets_of(tmp_path, train)
    assert sets.overlap.seen == 0
    assert sets.heldout.rows == 30
    conversations = [chat(*(f"{turn} {n % 9}" for turn in range(length))) for n in range(40) for length in (2, 4, 6)]
    assert sets_of(tmp_path, conversations).overlap.seen == 0


def test_rows_that_cannot_be_held_out_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\[nothing_to_hold_out\] all rows ask the same"):
        sets_of(tmp_path, [pair("a", str(number)) for number in range(20)])
    assert sets_of(tmp_path, [pair("a"), pair("b")]).heldout.rows == 1
    mostly = [*(pair("a", str(number)) for number in range(20)), pair("b")]
    assert sets_of(tmp_path, mostly).heldout.rows == 1


def test_a_share_beside_a_file_of_heldout_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="give one of the two"):
        sets_of(tmp_path, TRAIN, [pair("b")], "heldout_share = 0.2")


def test_a_reference_that_no_answer_can_match_is_a_fault(tmp_path: Path) -> None:
    heldout = [pair("a", ' {"a": 1}\n'), pair("b", "{'a': 1}"), pair("c", "[" * 5_000), pair("d", "NaN")]
    with pytest.raises(DataError) as caught:
        sets_of(tmp_path, TRAIN, heldout, metric="json_exact")
    assert [(fault.line, fault.code) for fault in caught.value.faults] == [
        (2, "reference_not_json"),
        (3, "reference_not_json"),
        (4, "reference_not_json"),
    ]


def test_many_turns_are_compared_in_time(tmp_path: Path) -> None:
    long = chat(*("x" * 4_000 for _ in range(1_000)))
    sets = sets_of(tmp_path, [long, chat("a", "b")], [chat("c", "d")])
    assert sets.overlap.seen == 0


def test_of_ten_rows_two_are_held_out_and_it_is_said_that_they_are_few(tmp_path: Path) -> None:
    sets = sets_of(tmp_path, TRAIN[:10])
    assert (sets.train.rows, sets.heldout.rows) == (8, 2)
    assert "few_rows" in {found.code for found in sets.findings}


def test_variants_of_one_text_are_split_all_the_same_and_it_is_said(tmp_path: Path) -> None:
    long = (
        "Please tell me in one word whether the parcel {} that I sent to my aunt in the mountains last Tuesday has "
        "arrived there, and if it has not, on which day of this week or the next one she may expect it at her door."
    )
    words = [f"{number * 7919:x}" for number in range(40)]
    rows = [pair(f"{number}{long.format(word)}{number}", word) for number, word in enumerate(words)]
    sets = sets_of(tmp_path, rows)
    assert sets.heldout.rows == 6
    assert {"variants", "near_leak"} <= {found.code for found in sets.findings}


def test_the_key_of_a_whole_row_has_each_turn_of_a_conversation_once() -> None:
    turns = tuple(Message("user" if at % 2 == 0 else "assistant", f"turn {at}") for at in range(1_000))
    (row,) = rows_of(Example(1, turns[: at + 1], turns[at + 1].content) for at in range(0, 1_000, 2))
    prompt, _, answers = cast("tuple[Any, Any, Any]", row.whole)
    assert len(prompt) + len(answers) < 1_500
    (shorter,) = rows_of(row.examples[1:])
    assert row.whole != shorter.whole
