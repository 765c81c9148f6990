"""The two sets of rows that a recipe names, compared with each other before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trainer.data.faults import DataError, Fault, all_of
from trainer.data.overlap import Overlap, find_overlap
from trainer.data.quotes import quotes_of
from trainer.data.read import Check, Dataset, read_data
from trainer.data.rows import Example
from trainer.data.split import HoldOut, split
from trainer.errors import RecipeError
from trainer.evaluation.metrics import METRICS
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


def read_sets(recipe: Recipe, base_folder: Path | None = None) -> Sets:
    """Read the recipe's rows and hold some out if it names none; `base_folder` is the base's, where it is at hand.

    Raises DataError for the faulty rows of both files, and RecipeError when too many held-out rows are training rows.
    """
    section = recipe.model.data
    quoted = quotes_of(base_folder, section.special_tokens_in_prompts)
    unanswerable = partial(_unanswerable, recipe.model.evaluation.metric)
    heldout_file = recipe.heldout_file
    if heldout_file is None:
        hold_out = HoldOut(section.heldout_share, section.heldout_seed)
        train, heldout = split(read_data(recipe.train_file, section.format, quoted), hold_out)
        _require_answerable(heldout, unanswerable)
    else:
        hold_out = None
        train, heldout = all_of(
            lambda: read_data(recipe.train_file, section.format, quoted),
            lambda: read_data(heldout_file, section.format, quoted, unanswerable),
        )
    found = find_overlap(train.examples, heldout.examples)
    if found.seen_share > section.max_seen_share:
        lines = ", ".join(map(str, found.lines))
        raise RecipeError(
            f"{heldout.file}: {_seen(found)} (lines {lines}{', …' if found.seen > len(found.lines) else ''}), so the "
            "evaluation would measure memory: remove them on one side, leave data.heldout out to have rows held out, "
            f"or raise data.max_seen_share, which is {section.max_seen_share:g}"
        )
    return Sets(train, heldout, found, hold_out)


def _seen(found: Overlap) -> str:
    return (
        f"{found.seen} of {found.heldout_rows} held-out rows ask what training rows ask, "
        f"{found.seen_answers} of them with the same answer"
    )


def _require_answerable(heldout: Dataset, unanswerable: Check) -> None:
    faults = [fault for example in heldout.examples for fault in unanswerable(example)]
    if faults:
        raise DataError((str(heldout.file), faults))


def _unanswerable(metric: str | None, example: Example) -> Iterator[Fault]:
    if metric is not None and not METRICS[metric](
        example.completion, example.completion
    ):  # any text is the same label as itself
        yield Fault(
            example.line,
            "reference_not_json",
            'the answer is no JSON, so that no answer can be right by evaluation.metric = "json_exact"; correct it, or '
            'use "label_exact"',
        )
