"""An experiment's sequence as a picture, PNG or SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from registry.errors import InvalidInput

if TYPE_CHECKING:
    from switchyard.picture_files import Form
    from switchyard.sequence_plot import Point

INCHES = (8.0, 4.5)


class Caption(NamedTuple):
    """What the picture says of its lines."""

    metric: str
    better: str
    """Which values of it are: `higher` or `lower`."""
    margin: float
    """The difference at which a treatment is as much worse as it may be."""
    sure: str
    """How sure bands are."""


def picture(sequences: Mapping[str, Sequence[Point]], title: str, caption: Caption, form: Form) -> bytes:
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
        units, label = [one.units for one in points], f"{arm}, {caption.sure}"
        estimates, lows, highs = zip(*((one.estimate, one.low, one.high) for one in points), strict=True)
        if len(points) == 1:  # the first look, which may have decided, makes no line
            below, above = estimates[0] - lows[0], highs[0] - estimates[0]
            axes.errorbar(units, estimates, yerr=[[below], [above]], fmt="o", capsize=4, label=label)
            continue
        (line,) = axes.plot(units, estimates, label=label)
        axes.fill_between(units, lows, highs, color=line.get_color(), alpha=0.2)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.locator_params(axis="x", integer=True)
    if caption.margin:
        axes.axhline(
            caption.margin, color="black", linewidth=0.8, linestyle="dashed", label=f"margin, {caption.margin:+g}"
        )
    axes.set(
        title=title,
        xlabel="units that are judged",
        ylabel=f"difference of {caption.metric} ({caption.better} is better)",
    )
    axes.legend()
    drawn = io.BytesIO()
    figure.savefig(drawn, format=form, metadata={"Date": None} if form == "svg" else None)
    return drawn.getvalue()
