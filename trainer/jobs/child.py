"""The process of one job: `python -m trainer.jobs.child FOLDER`; without a folder it waits for one on standard input.

It reads what it is to do from its folder, says what happens in JSON lines on its standard output (`lines.py`), and ends
with status 0 when the work is done, 1 when the job has failed, and `STOPPED` when it was told to stop by SIGTERM: then
its newest checkpoint is complete, and another child goes on from it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from registry.children.mouth import STDERR
from trainer.jobs.faults import failure_of
from trainer.jobs.folder import QUOTE, Assignment, JobFolder
from trainer.jobs.lines import STOPPED, Event, Finished, JobMouth, Prepared
from trainer.jobs.watching import ChildWatch

STDIN, MAX_PATH_BYTES = 0, 8_192
IMPORTED_AHEAD = ("trainer.making", "datasets", "peft", "trl.trainer.sft_trainer", "matplotlib.figure")

if TYPE_CHECKING:
    from trainer.data.sets import Sets
    from trainer.making import Task


def main(arguments: Sequence[str]) -> int:
    """Do the work of a folder; returns the exit status."""
    from trainer.making import set_environment

    set_environment()
    mouth = JobMouth()
    path = Path(arguments[0]) if arguments else waited_for(IMPORTED_AHEAD)
    if path is None:
        return 0
    folder = JobFolder(path)
    tempfile.tempdir = str(folder.scratch)
    assignment = Assignment.read(path)
    watch = ChildWatch(mouth.say, folder, assignment)
    watch.obey_sigterm()
    try:
        work(assignment, folder, watch)
    except BaseException as error:  # whatever it was, the worker must hear of it
        failed = failure_of(error, folder, assignment.order)
        if failed is None:
            return STOPPED
        for said in failed:
            mouth.say(said)
        return 1
    return 0


def waited_for(modules: Sequence[str]) -> Path | None:
    """Import modules, then read the folder; what is said on standard error goes into its log from now on. `None`: none
    came.
    """
    for module in modules:
        with suppress(Exception):  # it will be imported again, and its fault told
            importlib.import_module(module)
    line = os.read(STDIN, MAX_PATH_BYTES).decode().strip()
    if not line:
        return None
    with JobFolder(Path(line)).log.open("ab") as log:
        os.dup2(log.fileno(), STDERR)
    return Path(line)


def work(assignment: Assignment, folder: JobFolder, watch: ChildWatch) -> None:
    """What `main` does in a process of its own. Raises whatever goes wrong, and TrainingStopped."""
    if assignment.work == "validate":
        _validate(assignment, folder, watch)
    else:
        _train(assignment, folder, watch)


def _validate(assignment: Assignment, folder: JobFolder, watch: ChildWatch) -> None:
    """Check the rows, settle the recipe, and quote what it will take."""
    from trainer.data.findings import tell
    from trainer.jobs.quoting import quoted
    from trainer.jobs.recipe_of import recipe_of
    from trainer.making import encode

    watch.stage("checking the rows")
    has_file, entity = folder.heldout.is_file(), assignment.wandb_entity
    text, _ = recipe_of(assignment.order, 1, validation_file=has_file, wandb_entity=entity)
    sets = _sets(folder, text, Path(assignment.base_folder))  # which rows are trained does not hang on how
    text, hyperparameters = recipe_of(assignment.order, sets.train.rows, validation_file=has_file, wandb_entity=entity)
    folder.recipe.write_text(text, encoding="utf-8")
    task = _task(assignment, folder, sets)
    tell(watch, task.sets.findings)
    _require_rank(task, assignment.most_rank)
    watch.tell(Prepared(text, hyperparameters))
    watch.stage("encoding the rows")
    rows = encode(task, watch)
    dry = assignment.order.options.get("dry_run") is True
    quote = quoted(task, rows, assignment.prices, watch, dry=dry)
    watch.tell(Finished({**_digests(task.sets), QUOTE: quote}))


def _require_rank(task: Task, most: int) -> None:
    from trainer.errors import RecipeError

    rank = task.recipe.model.lora.r
    if task.start_from is None and rank > most:
        raise RecipeError(f"lora.r is {rank}, and the engines hold adapters of rank {most} at most; lower it")


def _sets(folder: JobFolder, recipe: str, base_folder: Path) -> Sets:
    from trainer.data.sets import read_sets
    from trainer.recipe import read_recipe

    folder.recipe.write_text(recipe, encoding="utf-8")
    return read_sets(read_recipe(folder.recipe), base_folder)


def _task(assignment: Assignment, folder: JobFolder, sets: Sets) -> Task:
    from trainer.making import Task
    from trainer.recipe import read_recipe

    return Task(
        read_recipe(folder.recipe),
        sets,
        Path(assignment.base_folder),
        folder.out,
        resume_from=folder.resume if assignment.resumes else None,
        start_from=folder.start if assignment.continues else None,
    )


def _digests(sets: Sets) -> dict[str, int | str]:
    return {
        "train_rows": sets.train.rows,
        "heldout_rows": sets.heldout.rows,
        "train_sha256": sets.train.digest,
        "heldout_sha256": sets.heldout.digest,
    }


def _train(assignment: Assignment, folder: JobFolder, watch: ChildWatch) -> None:
    from trainer.evaluation.judging import write_questions
    from trainer.jobs.quoting import against
    from trainer.jobs.results import write_results
    from trainer.making import encode, fit, judge
    from trainer.publish import Ingredients, lineage
    from trainer.quote.of_task import lineage_quote

    task = _task(
        assignment, folder, _sets(folder, folder.recipe.read_text(encoding="utf-8"), Path(assignment.base_folder))
    )
    watch.follow(task.recipe.model.training.epochs)
    watch.stage("encoding the rows")
    rows = encode(task, watch)
    fitted = fit(task, rows, watch)
    judged = judge(fitted, watch)
    ingredients = Ingredients(task.recipe, task.sets, assignment.base_digest)
    facts = lineage(ingredients, fitted.trained, judged.evaluation, fitted.receipt) | {QUOTE: lineage_quote(task, rows)}
    folder.lineage.write_text(json.dumps(facts), encoding="utf-8")
    write_questions(task.sets.heldout.examples, folder.questions)
    write_results(watch.course, folder, assignment.job)
    found = judged.evaluation
    watch.tell(
        Event(
            f"Held-out loss of {found.rows} rows: {found.adapter.loss:.3f}, without the adapter {found.base.loss:.3f}.",
            data={"evaluation": found.facts(), "largest_effect_nats": judged.largest_effect},
        )
    )
    outcome = {"evaluation": found.facts(), "quote_against_actual": against(assignment.quoted, fitted.trained, watch)}
    watch.tell(Finished(outcome, fitted.trained.trained_tokens))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
