"""`switchyard advise`: the decision, where to begin, and the recipe that is printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from registry.names import parse_whole_adapter
from tests.support.cli_runner import Run, done, run
from trainer.quote.approach import Needs, decide, next_question
from trainer.quote.gpus import plan_gpus
from trainer.quote.known import find_shape
from trainer.quote.memory import Load
from trainer.quote.starting_point import VOLUMES, Answers, choices, gpu_lines, starting_recipe, volume_of
from trainer.quote.thumb import shown
from trainer.recipe import read_recipe

__all__ = ["done", "run"]


@pytest.mark.parametrize(
    ("needs", "approach"),
    [
        (Needs(True, False), "retrieval"),
        (Needs(True, True, rows=800), "fine-tuning and retrieval"),
        (Needs(True, True, rows=10), "retrieval"),
        (Needs(False, True, rows=800), "fine-tuning"),
        (Needs(False, True, rows=60), "fine-tuning"),
        (Needs(False, True, rows=49), "few-shot prompting"),
        (Needs(False, False, True), "prompting"),
        (Needs(False, False, False, 199), "few-shot prompting"),
        (Needs(False, False, False, 200), "fine-tuning"),
    ],
)
def test_the_decision_follows_from_the_answers_and_says_why(needs: Needs, approach: str) -> None:
    decision = decide(needs)
    assert decision.approach == approach
    assert decision.reasons


def test_every_set_of_answers_leads_to_a_decision_by_at_most_four_questions() -> None:
    for answers in product((True, False), (True, False), (True, False), (0, 100, 5_000)):
        given = dict(zip(("fresh_information", "behaviour", "prompting_enough", "rows"), answers, strict=True))
        needs, asked = Needs(), []
        while (field := next_question(needs)) is not None:
            asked.append(field)
            needs = replace(needs, **{field: given[field]})  # type: ignore[arg-type]
        assert len(asked) == len(set(asked)) <= 4
        assert decide(needs).approach


def test_a_decision_without_the_answer_that_decides_names_it() -> None:
    with pytest.raises(ValueError, match="behaviour is not answered"):
        decide(Needs(fresh_information=True))


@pytest.mark.parametrize("rows", [50, 199, 200, 999, 1_000, 9_999, 10_000, 10**9])
@pytest.mark.parametrize("form", ["chat", "preference"])
def test_the_recipe_that_is_printed_can_be_read(rows: int, form: Any, tmp_path: Path) -> None:
    data = tmp_path / 'it\'s "data".jsonl'
    data.write_text("")
    answers = Answers(form, None if form == "preference" else "label_exact", 900)
    text = starting_recipe(("acme", "support"), data, answers, choices(rows, "most", answers))
    (tmp_path / "RECIPE.toml").write_text(text)
    recipe = read_recipe(tmp_path / "RECIPE.toml").model
    assert (recipe.data.train, recipe.training.max_length_tokens) == (data, 512)
    assert recipe.training.method == ("dpo" if form == "preference" else "sft")
    assert recipe.lora.alpha == 2 * recipe.lora.r


def test_few_rows_have_dropout_few_passes_and_small_ranks() -> None:
    few = {one.key: one.value for one in choices(100, "most")}
    many = {one.key: one.value for one in choices(20_000, "most")}
    assert (few["r"], few["dropout"], few["epochs"]) == (16, 0.1, 2)
    assert (many["r"], many["dropout"], many["epochs"]) == (64, 0.0, 1)


def test_every_number_of_rows_is_in_one_line_of_the_table() -> None:
    assert [volume_of(rows).least for rows in (0, 49, 50, 200, 999, 1_000, 10_000)] == [
        0,
        0,
        50,
        200,
        200,
        1_000,
        10_000,
    ]
    assert len(VOLUMES) == 5


def labelled(path: Path, answers: list[str]) -> Path:
    rows = [{"prompt": f"q{number}", "completion": answer} for number, answer in enumerate(answers)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("answers", "metric"),
    [
        (["yes", "no"] * 150, "label_exact"),
        ([f'{{"a": {number}}}' for number in range(300)], "json_exact"),
        ([f"a text of its own, {number}" for number in range(300)], None),
        ([str(number) for number in range(300)], None),
    ],
)
def test_rows_of_a_file_are_counted_and_their_answers_decide_the_metric(
    done: Run, tmp_path: Path, answers: list[str], metric: str | None
) -> None:
    data = labelled(tmp_path / "rows.jsonl", answers)
    document = done(
        "advise", "--fresh-information", "no", "--behaviour", "yes", "--data", data, "--to", "acme/x", "--json"
    ).document
    assert (document["approach"], document["needs"]["rows"]) == ("fine-tuning", 300)
    assert document["volume"]["rows"] == "200–1,000"
    (tmp_path / "RECIPE.toml").write_text(document["recipe"])
    recipe = read_recipe(tmp_path / "RECIPE.toml").model
    assert (recipe.evaluation.metric, recipe.data.format) == (metric, "completion")
    assert f"{recipe.adapter.tenant}/{recipe.adapter.name}" == parse_whole_adapter("acme/x").adapter_name


def test_calls_of_tools_have_no_metric_and_count_as_length(done: Run, tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "order", "description": "x" * 3_000, "parameters": {}}}
    call = {"id": "a", "type": "function", "function": {"name": "order", "arguments": "{}"}}
    data = tmp_path / "rows.jsonl"
    with data.open("w") as file:
        for number in range(60):
            answer = {"role": "assistant", "content": None, "tool_calls": [call]}
            asked = {"role": "user", "content": f"order {number}"}
            file.write(json.dumps({"messages": [asked, answer], "tools": [tool]}) + "\n")
    text = done("advise", "--fresh-information", "no", "--behaviour", "yes", "--data", data).out
    assert "max_length_tokens = 2048" in text
    assert "[evaluation]" not in text


@pytest.mark.parametrize("rows", [60, 500, 5_000])
def test_gpus_are_those_that_hold_the_recipe_that_is_printed(rows: int) -> None:
    found = choices(rows, "most")
    chosen: dict[str, Any] = {one.key: one.value for one in found}
    load = Load(
        "lora",
        chosen["r"],
        batch=chosen["batch_size"],
        seq=chosen["max_length_tokens"],
        checkpointing=chosen["gradient_checkpointing"],
        dropout=chosen["dropout"] > 0,
    )
    plan = plan_gpus(find_shape("8b"), load)
    assert gpu_lines(find_shape("8b"), Answers(), found)[0] == ("lora", shown(plan.minimum), shown(plan.recommended))


def test_people_get_reasons_tables_gpus_and_the_recipe(done: Run) -> None:
    text = done("advise", "--fresh-information", "yes", "--behaviour", "yes", "--rows", "3000", "--goal", "domain").out
    for words in ("Do: fine-tuning and retrieval", "because", "1,000–10,000", "RTX 4090", "[lora]\nr = 32"):
        assert words in text


def test_without_training_there_is_no_recipe(done: Run) -> None:
    document = done("advise", "--fresh-information", "yes", "--behaviour", "no", "--json").document
    assert (document["approach"], document["recipe"], document["hyperparameters"]) == ("retrieval", None, [])


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ((), "--fresh-information: it is needed for a decision"),
        (("--fresh-information", "no", "--behaviour", "yes"), "--rows: it is needed for a decision"),
        (("--fresh-information", "maybe"), "maybe"),
        (("--data", "none.jsonl"), "none.jsonl"),
        (("--fresh-information", "no", "--behaviour", "yes", "--rows", "500", "--model", "9x"), "'9x' is no folder"),
        (("--to", "acme"), "acme"),
    ],
)
def test_what_is_missing_or_wrong_is_named(run: Run, arguments: tuple[str, ...], fault: str) -> None:
    outcome = run("advise", *arguments)
    assert outcome.status != 0
    assert fault in outcome.err


def test_on_a_terminal_what_was_not_given_is_asked_one_question_after_the_other(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "switchyard", "advise", "--fresh-information", "no"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "SWITCHYARD_STATE_DIR": str(tmp_path)},
    ) as asked:
        os.write(ours, b"perhaps\nno\ny\n")
        out, err = asked.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert err.count("Must the model change how it answers") == 2  # "perhaps" is no answer
    assert "How many good rows" not in err
    assert "Do: prompting" in out
