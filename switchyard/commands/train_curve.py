"""`switchyard train --plot FILE`: what was measured is kept, and drawn at the end, however that comes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.watch import Level, Order, StepMetrics, Watch

MOST_KEPT = 20_000
"""Measurements; of more, every second one of training alone goes."""


@contextmanager
def plotting(watch: Watch, file: Path | None, title: str) -> Iterator[Watch]:
    """A watch that passes everything on, and draws the curve into `file` at the end; without one, `watch` itself.

    Raises `InvalidInput` at once for a file that can be no picture.
    """
    if file is None:
        yield watch
        return
    from switchyard.picture_files import form_of
    from trainer.saved import check_writable

    form_of(file)
    check_writable(file.parent)
    kept = Kept(watch)
    try:
        yield kept
    finally:
        kept.draw(file, title)


class Kept:
    """A `trainer.watch.Watch` that remembers what it passes on."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._measured: list[StepMetrics] = []

    def stage(self, text: str) -> None:
        """Passed on."""
        self._watch.stage(text)

    def say(self, message: str, *, level: Level = "info", data: Mapping[str, Any] | None = None) -> None:
        """Passed on."""
        self._watch.say(message, level=level, data=data)

    def metrics(self, measured: StepMetrics) -> None:
        """Remembered and passed on."""
        self._measured.append(measured)
        if len(self._measured) > MOST_KEPT:
            self._measured = [
                one
                for at, one in enumerate(self._measured)
                if at % 2 or one.valid_loss is not None or one.full_valid_loss is not None
            ]
        self._watch.metrics(measured)

    def after(self, step: int, total_steps: int) -> Order:
        """Passed on."""
        return self._watch.after(step, total_steps)

    def checkpoint(self, step: int, folder: Path) -> None:
        """Passed on."""
        self._watch.checkpoint(step, folder)

    def draw(self, file: Path, title: str) -> None:
        """Draw what was measured; nothing when nothing was."""
        from switchyard.picture_files import form_of
        from trainer.curves import draw_curve

        if self._measured:
            file.write_bytes(draw_curve(self._measured, title, form_of(file)))
            self._watch.stage(f"the curve is in {file}")
