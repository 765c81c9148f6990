"""Jobs of other kinds than plain LoRA: preferences on a base in four bits, with OpenAI's rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.training_jobs import assign, assigned, order
from tests.trainer.jobs.test_child import of, worked
from trainer.jobs.lines import Event, Failed, Finished, Measured
from trainer.recipe import read_recipe

pytestmark = pytest.mark.training


def preference_rows(count: int) -> str:
    """In OpenAI's form."""
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"word {i}"}]},
            "preferred_output": [{"role": "assistant", "content": f"B{i % 3}"}],
            "non_preferred_output": [{"role": "assistant", "content": "no idea"}],
        }
        for i in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_preferences_in_four_bits_are_a_job_that_tells_the_receipt_before_it_loads_the_base(
    base: Path, tmp_path: Path
) -> None:
    wanted = replace(order(model={"tuning": "qlora"}, lora={"r": 4}), method="dpo")
    folder = assigned(base, tmp_path / "job", rows=preference_rows(12), wanted=wanted)
    said = worked(folder)
    assert isinstance(said[-1], Finished), said[-1]
    recipe = read_recipe(folder.recipe).model
    assert (recipe.training.method, recipe.model.tuning, recipe.dpo.beta) == ("dpo", "qlora", 0.1)

    assign(folder, work="train")
    said = worked(folder)
    assert isinstance(said[-1], Finished), said[-1]
    rows, told, loads = [line for line in of(Event, said) if isinstance(line, Event)][:3]
    assert (rows.message, loads.message) == ("Encoding the rows", "Loading the base model")
    receipt = told.data["masking_receipt"]
    assert (receipt["rows"], receipt["stops"]) == (20, {"<|im_end|>": 20})  # both answers of ten pairs
    assert "word" in receipt["samples"][0]["text"]
    losses = [line.metrics.train_loss for line in of(Measured, said) if isinstance(line, Measured)]
    kept = [loss for loss in losses if loss is not None]
    assert kept[0] == pytest.approx(0.6931, abs=1e-3)
    assert kept[-1] < kept[0]
    lineage = json.loads(folder.lineage.read_text())
    assert lineage["masking_receipt"]["tokens_sha256"] == receipt["tokens_sha256"]
    assert "word" not in json.dumps(lineage["masking_receipt"])


def test_a_method_that_does_not_fit_the_rows_is_told_before_anything_is_trained(base: Path, tmp_path: Path) -> None:
    from tests.support.training_jobs import chat_rows

    wanted = replace(order(), method="dpo")
    said = worked(assigned(base, tmp_path / "job", rows=chat_rows(12), wanted=wanted))
    failed = said[-1]
    assert isinstance(failed, Failed)
    assert "needs preferences" in str(failed)
