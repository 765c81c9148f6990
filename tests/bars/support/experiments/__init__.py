"""The parts of the bar `experiments`, one a file: `measure(folder, scale)` returns a `Part`.

A part is added by adding its file here and its name to `COMPUTING` or `CLOCKED` in `tests/bars/experiments.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Part:
    """What one part found. Figures of all parts are one document, so their names differ."""

    figures: dict[str, float]
    bars: dict[str, bool]
    """Sentence → whether it held, at every scale on every machine."""
    speed: dict[str, bool] = field(default_factory=dict)
    """The same, of what the machine has a say in."""
    detail: dict[str, Any] = field(default_factory=dict)
