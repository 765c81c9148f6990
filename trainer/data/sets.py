"""The two sets of rows that a recipe names, compared with each other before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trainer.data.faults import DataError, Fault, all_of
from trainer.data.findings import Finding, finding
from trainer.data.overlap import Overlap, find_overlap
from trainer.data.quotes import quotes_of
from trainer.data.read import Check, Dataset, read_data
from trainer.data.report import findings_of, leaks, seen_text
from trainer.data.rows import Example
from trainer.data.split import HoldOut, Split, split
from trainer.errors import RecipeError
from trainer.evaluation.metrics import METRICS
from trainer.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Sets:
    """Training and held-out rows. `hold_out` is None when the recipe names a file of held-out rows.

    `findings` are what a person should know of the rows; none of them is an error.
    """

    train: Dataset
    heldout: Dataset
    overlap: Overlap
    hold_out: HoldOut | None
    findings: tuple[Finding, ...] = ()


def read_sets(recipe: Recipe, base_folder: Path | None = None) -> Sets:
    """Read the recipe's rows and hold some out if it names none; `base_folder` is the base's, where it is at hand.

    Raises DataError for the faulty rows of both files, and RecipeError when too many held-out rows are training rows.
    """
    section = recipe.model.data
    quoted = quotes_of(base_folder, section.special_tokens_in_prompts)
    unanswerable = partial(_unanswerable, recipe.model.evaluation.metric)
    heldout_file = recipe.heldout_file
    found: list[Finding] = []
    if heldout_file is None:
        hold_out = HoldOut(section.heldout_share, section.heldout_seed)
        parts = split(read_data(recipe.train_file, section.format, quoted), hold_out)
        train, heldout = parts.train, parts.heldout
        _require_answerable(heldout, unanswerable)
        found += _held_out(parts, hold_out)
    else:
        hold_out = None
        train, heldout = all_of(
            lambda: read_data(recipe.train_file, section.format, quoted),
            lambda: read_data(heldout_file, section.format, quoted, unanswerable, others=True),
        )
    _require_pairs(recipe, train, heldout)
    overlap = find_overlap(train.examples, heldout.examples)
    if overlap.seen_share > section.max_seen_share:
        more = ", …" if overlap.seen > len(overlap.lines) else ""
        raise RecipeError(
            f"{heldout.file}: {seen_text(overlap)} (lines {', '.join(map(str, overlap.lines))}{more}), so "
            "the evaluation would measure memory: remove them on one side, leave data.heldout out to have rows held "
            f"out, or raise data.max_seen_share, which is {section.max_seen_share:g}"
        )
    found += leaks(train, heldout, overlap)
    found += findings_of(train, base_folder.name if base_folder else None)
    _require_no_error(train, found)
    return Sets(train, heldout, overlap, hold_out, tuple(found))


def _require_pairs(recipe: Recipe, train: Dataset, heldout: Dataset) -> None:
    if recipe.model.training.method != "dpo" or (train.preferences and heldout.preferences):
        return
    raise RecipeError(
        f'{recipe.file}: training.method = "dpo" needs preferences in both sets, and the rows are of form '
        f'"{train.format}" and "{heldout.format}"; give rows with prompt, chosen and rejected, or use method = "sft"'
    )


def _held_out(parts: Split, hold_out: HoldOut) -> Iterator[Finding]:
    held, total = parts.heldout.rows, parts.train.rows + parts.heldout.rows
    prompt = "nearly the same prompt" if parts.apart else "the same prompt"
    text = (
        f"no held-out rows were given: {held} of {total} rows are held out "
        f"(seed {hold_out.seed}; rows with {prompt} stay together)"
    )
    yield finding("info", "held_out", text)
    if not parts.apart:
        text = "most rows ask variants of one text, so held-out rows are like training rows; give data.heldout"
        yield finding("warn", "variants", text)


def _require_no_error(data: Dataset, found: Iterable[Finding]) -> None:
    faults = [Fault(min(one.lines, default=1), one.code, one.text) for one in found if one.level == "error"]
    if faults:
        raise DataError((str(data.file), faults))


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
