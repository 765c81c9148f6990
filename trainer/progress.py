"""The pipeline's progress on a terminal: stages as lines, training as a bar; all on stderr, so stdout stays clean."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

STEP_LINES = 10  # lines printed over a whole training when stderr is not a terminal


class ConsoleReporter:
    """A `trainer.pipeline.Reporter`. As a context manager, so that the bar is gone before anything else prints."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task: TaskID | None = None
        self._began_s = time.monotonic()

    def __enter__(self) -> ConsoleReporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_bar()

    def stage(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        self._end_bar()
        self._console.print(f"[dim]{time.monotonic() - self._began_s:6.1f} s[/dim]  {text}", soft_wrap=True)

    def step(self, step: int, total: int, loss: float | None) -> None:
        """Advance the bar; where there is no terminal, print a line now and then."""
        text = "step" if loss is None else f"loss {loss:.3f}"
        if not self._console.is_terminal:
            if step == total or step % max(1, total // STEP_LINES) == 0:
                self.stage(f"  step {step}/{total}  {text}")
            return
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task(text, total=total)
        self._bar.update(self._task, completed=step, description=text)

    def _end_bar(self) -> None:
        if self._task is not None:
            self._bar.stop()
            self._bar.remove_task(self._task)
            self._task = None
