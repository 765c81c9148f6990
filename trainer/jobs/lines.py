"""What a process that trains says to the one that has started it: a JSON document a line, on its standard output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from registry.children.mouth import Mouth
from registry.training.jobs import Level
from trainer.watch import StepMetrics

STOPPED = 85
"""Exit status of a child that was told to stop; its last checkpoint is complete."""
MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Event:
    """Something that whoever ordered the job should know."""

    message: str
    level: Level = "info"
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The recipe that will be trained, and OpenAI's hyperparameters with numbers where `auto` was."""

    recipe: str
    hyperparameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """Something was measured at a step."""

    metrics: StepMetrics


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint lies in `folder`; `metrics` is what is known of its step."""

    step: int
    folder: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finished:
    """The work is done. `facts` is what is known of the job now; `trained_tokens` counts every pass."""

    facts: Mapping[str, Any]
    trained_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The job cannot be done. `param` is the field of the order that is to blame; the remedy stands in the message."""

    code: str
    message: str
    param: str | None = None


Line = Event | Prepared | Measured | Saved | Finished | Failed
KINDS: dict[str, type[Line]] = {
    "event": Event,
    "prepared": Prepared,
    "metrics": Measured,
    "checkpoint": Saved,
    "finished": Finished,
    "failed": Failed,
}
_NAMES = {kind: name for name, kind in KINDS.items()}


def as_line(said: Line) -> str:
    """One line, with its end."""
    return json.dumps({"say": _NAMES[type(said)], **asdict(said)}, ensure_ascii=False) + "\n"


def of_line(line: str) -> Line | None:
    """What a line says; `None` for one that says nothing that is known."""
    try:
        document = json.loads(line)
        kind = KINDS[document.pop("say")]
        if kind is Measured:
            document["metrics"] = StepMetrics(**document["metrics"])
        return kind(**document)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


class JobMouth:
    """A child's `Mouth`, which says what happens to its job."""

    def __init__(self) -> None:
        self._mouth = Mouth()

    def say(self, said: Line) -> None:
        """Now, not when there is more. Raises BrokenPipeError when the worker is gone."""
        self.pass_on(as_line(said))

    def pass_on(self, line: str) -> None:
        """One that is written already; an empty one says that the child lives."""
        self._mouth.say(line.encode())
