"""The two sets of rows that a recipe names, compared with each other before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trainer.data.overlap import Overlap, find_overlap
from trainer.data.read import Dataset, read_data
from trainer.data.rows import DataError, Fault
from trainer.data.split import HoldOut, split
from trainer.errors import RecipeError
from trainer.metrics import METRICS
from trainer.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Sets:
    """Training and held-out rows. `hold_out` is None when the recipe names a file of held-out rows."""

    train: Dataset
    heldout: Dataset
    overlap: Overlap
    hold_out: HoldOut | None

    def sentences(self) -> Iterator[str]:
        """What a person should know of the rows."""
        found = self.overlap
        if self.hold_out:
            total = found.train_rows + found.heldout_rows
            yield (
                f"no data.heldout: {found.heldout_rows} of {total} rows are held out (seed {self.hold_out.seed}; rows "
                "with the same prompt stay together)"
            )
        if found.copies:
            yield f"{found.copies} of {found.train_rows} training rows are exact copies of earlier ones"
        if found.seen:
            yield _seen(found)


def read_sets(recipe: Recipe) -> Sets:
    """Read the recipe's rows and hold some out if it names none.

    Raises DataError for faulty rows, and RecipeError when too many held-out rows are training rows.
    """
    section = recipe.model.data
    train = read_data(recipe.train_file, section.format)
    hold_out = None
    if recipe.heldout_file is None:
        hold_out = HoldOut(section.heldout_share, section.heldout_seed)
        train, heldout = split(train, hold_out)
    else:
        heldout = read_data(recipe.heldout_file, section.format)
    found = find_overlap(train.examples, heldout.examples)
    if found.seen_share > section.max_seen_share:
        lines = ", ".join(map(str, found.lines))
        raise RecipeError(
            f"{heldout.file}: {_seen(found)} (lines {lines}{', …' if found.seen > len(found.lines) else ''}), so the "
            "evaluation would measure memory: remove them on one side, leave data.heldout out to have rows held out, "
            f"or raise data.max_seen_share, which is {section.max_seen_share:g}"
        )
    _require_answerable(heldout, recipe.model.evaluation.metric)
    return Sets(train, heldout, found, hold_out)


def _seen(found: Overlap) -> str:
    return (
        f"{found.seen} of {found.heldout_rows} held-out rows ask what training rows ask, "
        f"{found.seen_answers} of them with the same answer"
    )


def _require_answerable(heldout: Dataset, metric: str) -> None:
    faults = [
        Fault(
            example.line,
            "reference_not_json",
            'the answer is no JSON, so that no answer can be right by evaluation.metric = "json_exact"; correct it, or '
            'use "label_exact"',
        )
        for example in heldout.examples
        if not METRICS[metric](example.completion, example.completion)  # any text is the same label as itself
    ]
    if faults:
        raise DataError(str(heldout.file), faults)
