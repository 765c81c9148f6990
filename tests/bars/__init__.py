"""The bars of the project, measured: `python -m tests.bars NAME [--scale 0.05] [--out FOLDER]`, or `all` of them.

A bar is a module of this package: its file's name is the bar's name, the first line of its docstring says what it
measures, and `run(folder, scale)` measures it, with an empty folder to work in. Adding a bar is adding a file; what
several of them need is in `support`.

What a bar promises is of two kinds. `bars` hold on every machine and at every scale: `make test` insists on those of
the bars that it runs, small.
`speed` is what the machine has a say in, such as milliseconds and ratios of them: only a full run is held against it.
"""

from __future__ import annotations

import importlib
import pkgutil
import tempfile
from pathlib import Path
from typing import Any, Protocol, cast

from tests.bars.support.machine import machine


class Bar(Protocol):
    """A module of this package."""

    __doc__: str

    def run(self, folder: Path, scale: float) -> dict[str, Any]:
        """`{"figures": {…}, "bars": {sentence: whether it held}, "speed": {likewise}}`, and what else belongs into the
        result's file; `speed` may be left out.
        """


def names() -> list[str]:
    """Every bar, by name."""
    return sorted(
        module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg and module.name != "__main__"
    )


def bar(name: str) -> Bar:
    """The bar of that name."""
    return cast(Bar, importlib.import_module(f"{__name__}.{name}"))


def measure(name: str, scale: float) -> dict[str, Any]:
    """Run one bar in a folder of its own; the document that is written to NAME.json."""
    with tempfile.TemporaryDirectory(prefix=f"switchyard-{name}-") as folder:
        return {"name": name, "scale": scale, "machine": machine(), "speed": {}, **bar(name).run(Path(folder), scale)}
