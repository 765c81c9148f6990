"""Read a data file, and collect everything that is wrong with it before giving up.

The forms of rows are those of OpenAI's fine-tuning (chats, prompt and completion, preferences), and instruction,
input, output; the codes of faults are those of OpenAI's data preparation cookbook where it has a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainer.data.dvc import located
from trainer.data.faults import DataError, Fault
from trainer.data.formats import FORMATS, Format, RowFormat, settle
from trainer.data.lines import MAX_FAULTS, Lines, read_lines
from trainer.data.parse import parse
from trainer.data.rows import Example, Origin, Preference

__all__ = ["FORMATS", "Check", "Dataset", "Format", "RowFormat", "read_data"]
Check = Callable[[Example], Iterable[Fault]]
"""What is wrong with an example that could be read."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data file that has been read. `digest` is the sha256 (hex) of its bytes, `rows` the number of lines used.

    Pairs for DPO are in `preferences`; `examples` has the chosen answers of these. `origins` has, by line, who wrote
    the rows that no person wrote.
    """

    file: Path
    digest: str
    rows: int
    examples: tuple[Example, ...]
    format: RowFormat
    preferences: tuple[Preference, ...] = ()
    origins: Mapping[int, Origin] = field(default_factory=dict)

    @property
    def needs_template(self) -> bool:
        """Whether rows are turns, which a base without a chat template cannot be asked."""
        return self.format != "completion"


def read_data(file: Path, format: Format, *checks: Check, others: bool = False) -> Dataset:
    """Read and check every line; DataError lists all faults with their 1-based lines, those of `checks` among them.

    A `.dvc` file stands for the file that it names. `others`: rows may have other fields, as held-out rows have those
    by which an evaluation is sliced.
    """
    file = located(file)
    return dataset_of(file, read_lines(file), format, *checks, others=others)


def dataset_of(file: Path, read: Lines, format: Format, *checks: Check, others: bool = False) -> Dataset:
    """The same of lines that were read from there. Raises DataError."""
    name, unlike = settle(read.lines, format, others=others)
    examples: list[Example] = []
    preferences: list[Preference] = []
    origins: dict[int, Origin] = {}
    faults = dict.fromkeys([*read.faults, *unlike.values()])  # the turns of one conversation are in several examples
    for line in read.lines:
        if name is None or line.number in unlike:
            continue
        if len(faults) >= MAX_FAULTS:
            text = f"{MAX_FAULTS} faults stand before this line, so the rest is not checked; correct these first"
            faults[Fault(line.number, "too_many_faults", text)] = None
            break
        found = parse(line.number, line.row, name, others=others)
        faults |= dict.fromkeys(found.faults)
        examples.extend(found.examples)
        faults |= dict.fromkeys(fault for example in found.examples for check in checks for fault in check(example))
        if found.preference is not None:
            preferences.append(found.preference)
        if found.origin is not None:
            origins[line.number] = found.origin
    if faults or name is None:
        raise DataError((named(file, read), faults))
    return Dataset(file, read.digest, read.rows, tuple(examples), name, tuple(preferences), origins)


def named(file: Path, read: Lines) -> str:
    """The file's name for messages, with what its numbers count if that is not lines."""
    return f"{file} (a list; 'line 3' is its third row)" if read.listed else str(file)
