"""What a child process does while a training runs: tell its worker, keep checkpoints, stop when it is told to."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from trainer.jobs.folder import Assignment, JobFolder, keep_checkpoint
from trainer.jobs.lines import STOPPED, Event, Line, Measured, Saved
from trainer.watch import Level, Order, StepMetrics

COURSE_FILE = "course.jsonl"
"""In a checkpoint: what was measured until then."""
MOST_WAITING = 2
"""Checkpoints that the worker has not taken away yet; while there are so many, none is made but the last."""


class ChildWatch:
    """A `trainer.watch.Watch` that says everything in lines."""

    def __init__(self, tell: Callable[[Line], None], folder: JobFolder, assignment: Assignment) -> None:
        self.tell = tell
        self.course = Course()
        """All that was measured, also before the training was resumed."""
        self._folder = folder
        self._every_s = assignment.checkpoint_s
        self._every_steps = assignment.checkpoint_steps
        self._epochs: float | None = None
        self._saved_s = time.monotonic()
        self._stepping = False
        self._told_to_stop = False
        if assignment.resumes:
            self.course.read(folder.resume / COURSE_FILE)

    def obey_sigterm(self) -> None:
        """From now on: stop after the step that is going on, with a checkpoint; at once where there is none to make."""
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def follow(self, epochs: float | None) -> None:
        """Keep a checkpoint at the end of each of so many passes too."""
        self._epochs = epochs

    def stage(self, text: str) -> None:
        """An event."""
        self._stepping = False
        self.say(text)

    def say(self, message: str, *, level: Level = "info", data: Mapping[str, Any] | None = None) -> None:
        """An event."""
        message = message.replace(f"{self._folder.path}/", "")
        self.tell(Event(message[:1].upper() + message[1:], level, data or {}))

    def metrics(self, measured: StepMetrics) -> None:
        """Noted and told."""
        self.course.add(measured)
        self.tell(Measured(measured))

    def after(self, step: int, total_steps: int) -> Order:
        """Saves every so often, at ends of epochs, and at the end; stops when it was told to."""
        self._stepping = step < total_steps
        if self._told_to_stop:
            return "stop"
        if step == total_steps:
            return "save"
        waiting = sum(1 for _ in self._folder.checkpoints.glob("step-*"))
        return "save" if waiting < MOST_WAITING and self._is_time(step, total_steps) else "go"

    def checkpoint(self, step: int, folder: Path) -> None:
        """Kept, with what was measured until now, and told."""
        kept = keep_checkpoint(folder, self._folder.checkpoints, step, {COURSE_FILE: self.course.text()})
        self._saved_s = time.monotonic()
        self.tell(Saved(step, str(kept), self.course.at(step)))

    def _is_time(self, step: int, total_steps: int) -> bool:
        if self._every_steps is not None and step % self._every_steps == 0:
            return True
        if self._epochs is not None and self._epochs > 1 and step % max(1, round(total_steps / self._epochs)) == 0:
            return True
        return time.monotonic() - self._saved_s >= self._every_s

    def _on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        if self._told_to_stop or not self._stepping:
            raise SystemExit(STOPPED)
        self._told_to_stop = True


class Course:
    """What was measured at each step, in one record a step."""

    def __init__(self) -> None:
        self.steps: dict[int, dict[str, Any]] = {}

    def add(self, measured: StepMetrics) -> None:
        """Several of one step are one record."""
        found = {name: value for name, value in asdict(measured).items() if value is not None}
        self.steps.setdefault(measured.step, {}).update(found)

    def at(self, step: int) -> Mapping[str, Any]:
        """What is known of a step."""
        return self.steps.get(step, {"step": step})

    def text(self) -> str:
        """JSON lines."""
        return "".join(json.dumps(record) + "\n" for record in self.steps.values())

    def read(self, file: Path) -> None:
        """What `text` gave."""
        for line in file.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            self.steps[record["step"]] = record
