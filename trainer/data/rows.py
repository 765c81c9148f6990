"""What training data is once it has been read: examples of one prompt and one completion.

A chat conversation gives one example per assistant turn with weight 1; everything before the turn is its prompt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trainer.errors import TrainerError

MAX_FAULTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to learn: after `prompt`, say `completion`.

    `line` is the 1-based line of the file. `prompt` is plain text (completion format) or the turns before the answer.
    """

    line: int
    prompt: str | tuple[Message, ...]
    completion: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with one line. `code` is stable; where OpenAI's cookbook has a name, it is that name."""

    line: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: [{self.code}] {self.message}"


class DataError(TrainerError):
    """A data file cannot be used; `faults` holds every fault found, in order of lines."""

    def __init__(self, file: str, faults: Iterable[Fault]) -> None:
        self.file = file
        self.faults = tuple(faults)
        shown = "\n".join(f"  {fault}" for fault in self.faults[:MAX_FAULTS_SHOWN])
        rest = len(self.faults) - MAX_FAULTS_SHOWN
        more = f"\n  ... and {rest} more" if rest > 0 else ""
        super().__init__(f"{file}: {len(self.faults)} fault(s)\n{shown}{more}")
