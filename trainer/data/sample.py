"""A few rows for a person to read: whether answers are true, no check can tell."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from trainer.data.faults import DataError, Fault
from trainer.data.read import Dataset
from trainer.data.rows import Example

HEADINGS = ("line", "prompt", "answer", "correct (yes or no)", "comment")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def sample(data: Dataset, count: int, seed: int) -> list[Example]:
    """So many answers, the same ones for the same rows and seed, in the order of the file."""

    def rank(place: int) -> bytes:
        return blake2b(place.to_bytes(8, "big"), digest_size=8, key=seed.to_bytes(8, "big")).digest()

    chosen = sorted(range(len(data.examples)), key=rank)[:count]
    return [data.examples[place] for place in sorted(chosen)]


def prompt_to_read(example: Example) -> str:
    """The prompt as a person reads it: turns on lines of their own."""
    if isinstance(example.prompt, str):
        return example.prompt
    return "\n".join(f"{turn.role}: {turn.text}" for turn in example.prompt)


def write_sheet(examples: Sequence[Example], file: Path) -> None:
    """A CSV for an expert, with columns for the verdict. Raises DataError when the file is there already."""
    try:
        with file.open("x", encoding="utf-8-sig", newline="") as stream:
            sheet = csv.writer(stream)
            sheet.writerow(HEADINGS)
            for one in examples:
                sheet.writerow([one.line, _cell(prompt_to_read(one)), _cell(one.answer.text), "", ""])
    except OSError as failed:
        text = f"cannot be written ({failed.strerror}); give the name of a new file"
        raise DataError((str(file), [Fault(1, "unwritable", text)])) from failed


def _cell(text: str) -> str:
    """Spreadsheets compute what begins like a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text
