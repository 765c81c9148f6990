"""The training curve as a picture: loss on training and validation rows by step, as SVG or PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Literal

from trainer.errors import TrainerError
from trainer.watch import StepMetrics

Form = Literal["svg", "png"]
MAX_POINTS = 2_000
"""Points drawn of one line: a file stays below a megabyte however long the training was."""
SMOOTHING_POINTS = 50
"""A running mean is drawn over a line of more points than this."""
MAX_TITLE_CHARACTERS = 90
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#595959"
"""Of Okabe and Ito's palette, which people with any colour blindness can tell apart; lines differ in shape as well."""


def draw_curve(metrics: Sequence[StepMetrics], title: str, form: Form = "svg", best_step: int | None = None) -> bytes:
    """The picture's bytes; the same metrics give the same bytes. Validation is on all held-out rows, or on a sample.

    `best_step` is the step whose weights are kept, where that is not the last one. Values that are no number are left
    out. Raises TrainerError when no loss was measured.
    """
    train = _line(metrics, "train_loss")
    valid = _line(metrics, "full_valid_loss") or _line(metrics, "valid_loss")
    if not train and not valid:
        raise TrainerError("there is no curve to draw: no step has a loss")
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "switchyard", "svg.fonttype": "none", "text.parse_math": False}):
        figure = Figure(figsize=(8, 4.5), dpi=120, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot(facecolor="white")
        _draw_train(axes, train)
        _draw_valid(axes, valid, best_step)
        _label(axes, title, [loss for _, loss in (*train, *valid)])
        buffer = io.BytesIO()
        figure.savefig(buffer, format=form, metadata={"Date": None} if form == "svg" else {"Software": None})
    return buffer.getvalue()


def _line(metrics: Sequence[StepMetrics], name: str) -> list[tuple[int, float]]:
    """At most `MAX_POINTS` points, evenly chosen, the last one among them."""
    points = [
        (one.step, value) for one in metrics if (value := getattr(one, name)) is not None and math.isfinite(value)
    ]
    every = math.ceil(len(points) / MAX_POINTS)
    return points if every <= 1 else points[(len(points) - 1) % every :: every]


def _draw_train(axes: Any, points: list[tuple[int, float]]) -> None:
    if not points:
        return
    steps, losses = zip(*points, strict=True)
    if len(points) <= SMOOTHING_POINTS:
        axes.plot(steps, losses, color=BLUE, linewidth=1.6, label="training", marker="." if len(points) < 3 else None)
        return
    axes.plot(steps, losses, color=BLUE, linewidth=0.8, alpha=0.35, label="training, each step")
    smooth = _running_mean(losses, len(points) // 50)
    axes.plot(steps, smooth, color=BLUE, linewidth=1.8, label="training, running mean")


def _draw_valid(axes: Any, points: list[tuple[int, float]], best_step: int | None) -> None:
    if not points:
        return
    steps, losses = zip(*points, strict=True)
    axes.plot(steps, losses, color=ORANGE, linewidth=1.6, linestyle="--", marker="o", markersize=5, label="validation")
    if best_step in steps:
        at = steps.index(best_step)
        axes.plot(
            [best_step], [losses[at]], "o", markersize=12, markerfacecolor="none", markeredgecolor=GREY,
            label=f"kept: step {best_step:,}", linestyle="none",
        )  # fmt: skip


def _label(axes: Any, title: str, losses: Sequence[float]) -> None:
    from matplotlib.ticker import MaxNLocator

    known = title.encode("ascii", "backslashreplace").decode()  # the font has no letters of other scripts
    axes.set_title(known[:MAX_TITLE_CHARACTERS], loc="left", fontsize=11)
    axes.set_xlabel("optimiser step")
    axes.set_ylabel("loss (nats per token)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.02)
    low, high = min(losses), max(losses)
    axes.set_ylim(bottom=0 if low >= 0 and low < 0.5 * high else None)
    axes.grid(visible=True, color="#E0E0E0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    if high < 300:  # e to the power of more is no number that says anything
        other = axes.secondary_yaxis("right", functions=(_perplexity, _loss))
        other.set_ylabel("perplexity (e to the loss)")
        other.spines["right"].set_visible(False)


def _perplexity(loss: Any) -> Any:
    import numpy as np

    return np.exp(np.clip(loss, -300, 300))


def _loss(perplexity: Any) -> Any:
    import numpy as np

    return np.log(np.clip(perplexity, 1e-130, None))


def _running_mean(values: Sequence[float], reach: int) -> list[float]:
    """The mean of each value and the `reach` values on either side of it."""
    sums = [0.0, *accumulate(values)]
    return [
        (sums[min(at + reach + 1, len(values))] - sums[max(at - reach, 0)])
        / (min(at + reach + 1, len(values)) - max(at - reach, 0))
        for at in range(len(values))
    ]
