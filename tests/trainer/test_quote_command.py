"""`switchyard quote` on a tiny base: what it tells, and that it leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_runner import Run, done, run
from tests.support.tiny_recipe import tiny_recipe

__all__ = ["done", "run"]
pytestmark = pytest.mark.training


def write_rows(folder: Path, name: str, first: int, count: int) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"q{n} {'x' * (n % 7)}"}, {"role": "assistant", "content": f"a{n}"}]}
        for n in range(first, first + count)
    ]
    (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_rows(tmp_path, "train.jsonl", 0, 30)
    write_rows(tmp_path, "heldout.jsonl", 100, 8)
    file = tmp_path / "RECIPE.toml"
    file.write_text(tiny_recipe(steps=6))
    return file


PRICES = ("--hour-dollars", "3.60", "--api-input", "2.5", "--api-output", "10", "--own-input", "0", "--own-output", "0")


def test_a_recipe_is_quoted_with_tokens_memory_measured_time_and_cost(done: Run, recipe: Path, base: Path) -> None:
    outcome = done("quote", recipe, "--base", base, *PRICES, "--json")
    document: dict[str, Any] = json.loads(outcome.out.splitlines()[-1])
    assert (document["rows"], document["heldout_rows"], document["copies"], document["steps"]) == (30, 8, 0, 6)
    assert document["trainable_parameters"] == 4 * 2 * (2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 64))
    assert document["fits"] is True
    assert document["peak_bytes"] > 100_000_000
    time = document["time"]
    assert 0 < time["fastest_seconds"] <= time["seconds"] <= time["slowest_seconds"]
    assert time["device"].startswith("cpu: ")
    assert float(document["cost_usd"]) == pytest.approx(time["seconds"] / 1_000, abs=1e-5)
    assert document["break_even"]["requests"] >= 0
    assert "few_rows" in {found["code"] for found in document["findings"]}


def test_people_get_the_same_in_words_and_what_is_taken_for_granted(done: Run, recipe: Path, base: Path) -> None:
    text = done("quote", recipe, "--base", base, "--untimed").out
    for words in ("30 to train on, 8 held out", "6 steps", "not measured", "unpriced", "taken for granted"):
        assert words in text


def test_a_quote_trains_nothing_for_keeps(done: Run, recipe: Path, base: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in base.iterdir()}
    done("quote", recipe, "--base", base)
    assert {path: path.read_bytes() for path in base.iterdir()} == before
    assert not (tmp_path / "state" / "trained").exists()
    assert done("adapters", "list", "--json").document == []


def test_a_quote_before_a_training_changes_nothing_of_what_is_trained(
    recipe: Path, base: Path, tmp_path: Path, done: Run
) -> None:
    from trainer.data.sets import read_sets
    from trainer.making import Task, encode, fit
    from trainer.quote.bench import measure
    from trainer.recipe import read_recipe
    from trainer.watch import Unwatched

    read = read_recipe(recipe)
    sets = read_sets(read)

    def weights(folder: Path, *, quoted: bool) -> bytes:
        task = Task(read, sets, base, folder)
        rows = encode(task, Unwatched())
        if quoted:
            bench = measure(base, rows.train, read.model, rows.tokenizer)
            assert len(bench.step_seconds) == 3
        return (fit(task, rows, Unwatched()).folder / "adapter_model.safetensors").read_bytes()

    assert weights(tmp_path / "one", quoted=True) == weights(tmp_path / "two", quoted=False)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--hour-dollars", "cheap"), "--hour-dollars is 'cheap'"),
        (("--api-input", "1"), "--api-input: give both prices"),
        (("--base", "nowhere"), "'nowhere'"),
    ],
)
def test_a_quote_that_cannot_be_made_is_one_message(
    run: Run, recipe: Path, arguments: tuple[str, ...], fault: str
) -> None:
    outcome = run("quote", recipe, *arguments)
    assert outcome.status != 0
    assert fault in outcome.err
