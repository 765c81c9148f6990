"""Metrics over parts of the rows: by a field of theirs, by their label, or by the length of their prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from trainer.errors import EvaluationError
from trainer.evaluation.items import Asked, Item, item_of
from trainer.evaluation.metrics import Metric, label_of

MAX_SLICE_VALUES = 20
"""Of one field: the most common ones."""
LENGTH, LABEL = "length", "label"


@dataclass(frozen=True, slots=True)
class SliceItem:
    """A metric over the rows whose `field` has this value. There are many of them, so a few differ by chance alone."""

    field: str
    value: str
    item: Item


def sliced(fields: Sequence[str], metrics: Sequence[Metric], asked: Sequence[Asked]) -> Iterator[SliceItem]:
    """Every metric for each value of each field. Raises EvaluationError for a field that no row has."""
    for field in fields:
        values = _values(field, asked)
        common = [value for value, _ in Counter(values).most_common(MAX_SLICE_VALUES)]
        for value in sorted(common):
            rows = [one for one, own in zip(asked, values, strict=True) if own == value]
            for metric in metrics:
                found = item_of(metric, rows)
                if isinstance(found, Item):
                    yield SliceItem(field, value, found)


def _values(field: str, asked: Sequence[Asked]) -> list[str]:
    """Of each row: its label, whether its prompt is short, or what its line says in a field of that name."""
    if field == LABEL:
        return [label_of(one.row.reference or "") for one in asked]
    if field == LENGTH:
        lengths = [one.row.prompt_characters for one in asked]
        middle = median(lengths)
        return [f"at most {middle:.0f} characters" if own <= middle else "longer" for own in lengths]
    values = [one.row.fields.get(field, "") for one in asked]
    if not any(values):
        known = sorted({name for one in asked for name in one.row.fields})
        names = ", ".join((*known, LENGTH, LABEL))
        raise EvaluationError(f"slice is {field[:60]!r}, and no row has it; choose from {names}")
    return values
