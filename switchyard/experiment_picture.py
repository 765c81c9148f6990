"""An experiment's sequence as a picture, PNG or SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from registry.errors import InvalidInput

if TYPE_CHECKING:
    from switchyard.sequence_plot import Point

FORMS = ("png", "svg")
INCHES = (8.0, 4.5)


class Said(NamedTuple):
    """What the picture says of its lines."""

    metric: str
    better: str
    """Which values of it are: `higher` or `lower`."""
    margin: float
    """The difference at which a treatment is as much worse as it may be."""
    sure: str
    """How sure bands are."""


def form_of(file: Path) -> str:
    """By the end of its name. Raises `InvalidInput`."""
    form = file.suffix.removeprefix(".").lower()
    if form not in FORMS:
        raise InvalidInput(f"plot is {file.name!r}; name a file that ends with .png or .svg", param="plot")
    return form


def picture(sequences: Mapping[str, Sequence[Point]], title: str, said: Said, form: str) -> bytes:
    """Each treatment's difference to the control with its band, the line at 0, and the margin. Raises `InvalidInput`
    where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InvalidInput(
            "plot needs matplotlib, which is not installed: pip install 'switchyard[train]'", param="plot"
        ) from None
    figure = Figure(figsize=INCHES, layout="constrained")
    axes = figure.add_subplot()
    for arm, points in sequences.items():
        units = [one.units for one in points]
        (line,) = axes.plot(units, [one.estimate for one in points], label=f"{arm}, {said.sure}")
        axes.fill_between(
            units, [one.low for one in points], [one.high for one in points], color=line.get_color(), alpha=0.2
        )
    axes.axhline(0.0, color="black", linewidth=0.8)
    if said.margin:
        axes.axhline(said.margin, color="black", linewidth=0.8, linestyle="dashed", label=f"margin, {said.margin:+g}")
    axes.set(
        title=title, xlabel="units that are judged", ylabel=f"difference of {said.metric} ({said.better} is better)"
    )
    axes.legend()
    drawn = io.BytesIO()
    figure.savefig(drawn, format=form, metadata={"Date": None} if form == "svg" else None)
    return drawn.getvalue()
