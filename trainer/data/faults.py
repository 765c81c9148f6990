"""What is wrong with rows: all of it in one error, in which faults that are alike are one line with their number."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from trainer.errors import TrainerError

MAX_SHOWN = 20
MAX_RUNS_NAMED = 10
ALIKE_SHOWN = 3
"""Faults that differ in numbers only are shown each, up to so many."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with one line. `code` is stable; where OpenAI's cookbook has a name, it is that name."""

    line: int
    code: str
    message: str


class DataError(TrainerError):
    """Data files cannot be used; `files` are their names and faults, `faults` all of these, in order of lines."""

    def __init__(self, *files: tuple[str, Iterable[Fault]]) -> None:
        found: dict[str, list[Fault]] = {}
        for file, faults in files:
            found.setdefault(file, []).extend(faults)
        self.files = tuple((file, tuple(sorted(found[file], key=lambda fault: fault.line))) for file in found)
        super().__init__("\n".join(_told(file, faults) for file, faults in self.files))

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Of all files."""
        return tuple(fault for _, faults in self.files for fault in faults)


def all_of(*readings: Callable[[], T]) -> list[T]:
    """What each of them gives, or one DataError with the faults of all."""
    found: list[T] = []
    errors: list[DataError] = []
    for reading in readings:
        try:
            found.append(reading())
        except DataError as error:
            errors.append(error)
    if errors:
        raise DataError(*(file for error in errors for file in error.files))
    return found


def _told(file: str, faults: tuple[Fault, ...]) -> str:
    alike: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        alike.setdefault((fault.code, re.sub(r"\d+", "#", fault.message)), []).append(fault)
    groups = sorted((part for group in alike.values() for part in _parts(group)), key=lambda part: part[0].line)
    lines = [f"{_lines(group)}: {_message(group)}" for group in groups[:MAX_SHOWN]]
    rest = sum(map(len, groups[MAX_SHOWN:]))
    return "\n  ".join([f"{file}: {len(faults)} fault(s)", *lines, *([f"... and {rest} more"] if rest else [])])


def _parts(alike: list[Fault]) -> list[list[Fault]]:
    """By message, unless these are many."""
    by_message: dict[str, list[Fault]] = {}
    for fault in alike:
        by_message.setdefault(fault.message, []).append(fault)
    return list(by_message.values()) if len(by_message) <= ALIKE_SHOWN else [alike]


def _message(group: list[Fault]) -> str:
    first = group[0]
    example = "" if len({fault.message for fault in group}) == 1 else f"in line {first.line}: "
    return f"[{first.code}] {example}{first.message}"


def _lines(group: list[Fault]) -> str:
    """`line 7`, or `4 lines (2-4, 9)`."""
    lines = sorted({fault.line for fault in group})
    if len(lines) == 1:
        return f"line {lines[0]}"
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][-1] + 1:
            runs[-1].append(line)
        else:
            runs.append([line])
    named = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs[:MAX_RUNS_NAMED]]
    return f"{len(lines)} lines ({', '.join(named)}{', …' if len(runs) > MAX_RUNS_NAMED else ''})"
