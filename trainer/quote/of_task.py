"""The quote of a task whose rows are encoded: what `switchyard quote` and a job's child process have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainer.making import EncodedSets, Task
from trainer.methods.results import ADAPTER_FILES
from trainer.methods.rows import Rows
from trainer.quote.bench import measure
from trainer.quote.facts import Prices, row_facts
from trainer.quote.quote import Quote, quote
from trainer.quote.shapes import read_shape
from trainer.recipe import RecipeModel
from trainer.watch import Unwatched, Watch


def quote_task(task: Task, rows: EncodedSets, prices: Prices, watch: Watch, *, timed: bool = True) -> Quote:
    """Count, and time three steps here if it is `timed`. Raises what `measure` raises, and BaseModelError."""
    recipe = task.recipe.model
    shape = read_shape(task.base_folder)
    learnt = rows.pairs or Rows(rows.train, rows.heldout[: recipe.evaluation.max_rows])
    facts = row_facts(learnt.train, learnt.valid, task.sets)
    bench = None
    if timed:
        watch.stage("timing three steps")
        bench = measure(task.base_folder, learnt.train, recipe, rows.tokenizer, task.start_from)
    return quote(recipe if task.start_from is None else _shaped(recipe, task.start_from), facts, shape, bench, prices)


def lineage_quote(task: Task, rows: EncodedSets) -> dict[str, Any]:
    """The part of the quote that stands in a version's lineage: the same for the same rows, recipe and base."""
    return quote_task(task, rows, Prices(), Unwatched(), timed=False).facts()


def _shaped(recipe: RecipeModel, adapter: Path) -> RecipeModel:
    """With the rank and targets of the adapter that training goes on from, which a recipe does not repeat."""
    config = json.loads((adapter / ADAPTER_FILES[0]).read_bytes())
    names = sorted({name.rpartition(".")[2] for name in config["target_modules"]})  # what is saved are whole paths
    shape = {"r": config["r"], "target_modules": names}
    return recipe.model_copy(update={"lora": recipe.lora.model_copy(update=shape)})
