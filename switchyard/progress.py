"""The trainer's progress on a terminal: stages as lines, training as a bar; all on stderr, so stdout stays clean."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from switchyard.console import StepBar, say

if TYPE_CHECKING:
    from trainer.watch import Level, Order, StepMetrics

STEP_LINES = 10  # lines printed over a whole training when stderr is not a terminal


class ConsoleReporter:
    """A `trainer.watch.Watch`. As a context manager, so that the bar is gone before anything else prints."""

    def __init__(self) -> None:
        self._bar = StepBar()
        self._valid_loss: float | None = None
        self._began_s = time.monotonic()

    def __enter__(self) -> ConsoleReporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.end()

    def stage(self, text: str) -> None:
        """Print a line with the seconds since the start; on a terminal seconds are counted until the next one."""
        self._bar.end()
        say(f"{time.monotonic() - self._began_s:6.1f} s  {text}", err=True)
        self._bar.wait()

    def say(self, message: str, *, level: Level = "info", data: Mapping[str, Any] | None = None) -> None:
        """Print a line; a warning says that it is one."""
        self.stage(f"warning: {message}" if level == "warn" else message)

    def metrics(self, measured: StepMetrics) -> None:
        """Advance the bar; where there is no terminal, print a line now and then."""
        valid = measured.valid_loss if measured.full_valid_loss is None else measured.full_valid_loss
        if valid is not None:
            self._valid_loss = valid
        if measured.train_loss is None:
            return
        step, total = measured.step, measured.total_steps
        text = figures_of(measured, self._valid_loss)
        if self._bar.shows:
            self._bar.update(step, total, text, measured.seconds_left)
        elif step == total or step % max(1, total // STEP_LINES) == 0:
            self.stage(f"  step {step}/{total}  {text}")

    def after(self, step: int, total_steps: int) -> Order:
        """Never stops: who presses Ctrl-C does not want to wait."""
        return "go"

    def checkpoint(self, step: int, folder: Path) -> None:
        """None is asked for."""


def figures_of(measured: StepMetrics, valid_loss: float | None) -> str:
    """What was measured at a step, in one line, with the last loss on held-out rows; the perplexity is that of it, if
    there is one.
    """
    from trainer.watch import perplexity

    shown = (
        ("loss {:.3f}", measured.train_loss),
        ("valid {:.3f}", valid_loss),
        ("perplexity {:.3g}", perplexity(measured.train_loss if valid_loss is None else valid_loss)),
        ("lr {:.2g}", measured.learning_rate),
        ("norm {:.2f}", measured.grad_norm),
        ("{:.0f} tokens/s", measured.tokens_per_second),
    )
    return "  ".join(form.format(value) for form, value in shown if value is not None)


@contextmanager
def reporting() -> Iterator[ConsoleReporter]:
    """Shows what the trainer does. An error that it expects is one message on stderr, and exit status 1."""
    from trainer.errors import TrainerError

    try:
        with ConsoleReporter() as reporter:
            yield reporter
    except TrainerError as error:
        say(*f"error: {error}".split("\n"), err=True)
        raise typer.Exit(1) from error
