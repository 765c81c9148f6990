"""The evaluation matrix as a picture: each metric's improvement with its 95 % interval, as SVG or PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Literal

from registry.verdicts import spoken
from trainer.errors import EvaluationError
from trainer.evaluation.items import Item

Form = Literal["svg", "png"]
GREY = "#595959"
COLOURS = {"better": "#0072B2", "worse": "#D55E00", "undecided": GREY, "too_few_units": GREY}
"""Of Okabe and Ito's palette, which people with any colour blindness can tell apart; shapes differ as well."""
SHAPES = {"better": "^", "worse": "v", "undecided": "o", "too_few_units": "o"}


def draw_matrix(items: Sequence[Item], title: str, form: Form = "svg") -> bytes:
    """The picture's bytes. Raises EvaluationError when no metric was measured."""
    if not items:
        raise EvaluationError("there is no picture to draw: no metric was measured")
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as failed:
        raise EvaluationError("a picture needs the extra: pip install 'switchyard[train]'") from failed
    with mpl.rc_context({"svg.hashsalt": "switchyard", "svg.fonttype": "none", "text.parse_math": False}):
        height = 1.6 + 0.7 * len(items)
        figure = Figure(figsize=(8, height), dpi=120, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(items), 1, squeeze=False)[:, 0]
        for axis, item in zip(axes, items, strict=True):
            _draw(axis, item)
        figure.suptitle(f"{title}: improvement, 95 % interval", fontsize=10)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=form, metadata={"Date": None} if form == "svg" else {"Software": None})
    return buffer.getvalue()


def _draw(axis: Any, item: Item) -> None:
    """Each metric on a scale of its own, with no improvement in sight."""
    colour = COLOURS[item.word]
    ends: Sequence[float] = [item.improvement]
    if item.low is not None and item.high is not None:
        axis.plot([item.low, item.high], [0, 0], color=colour, linewidth=3, solid_capstyle="round")
        ends = (item.low, item.high)
    axis.plot([item.improvement], [0], SHAPES[item.word], color=colour, markersize=8)
    axis.axvline(0, color="#999999", linewidth=1, linestyle="--")
    room = (max(*ends, 0) - min(*ends, 0)) * 0.1 or 0.1
    axis.set_xlim(min(*ends, 0) - room, max(*ends, 0) + room)
    axis.set_yticks([0], [f"{item.metric[:30]}\n{spoken(item.word)}"], fontsize=8)
    axis.tick_params(axis="x", labelsize=8)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
