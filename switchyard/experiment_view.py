"""An experiment as lines of text: its arms, and what was found as a plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from registry.days import when
from registry.money import NANO
from switchyard.sequence_plot import Point, plotted

if TYPE_CHECKING:
    from gateway.experiments.outlook import Outlook
    from registry.experiments.infos import DecisionInfo, ExperimentInfo

LEAST_PLOT_ROWS, MOST_PLOT_ROWS = 8, 18
TABLE = ("ARM", "TRAFFIC", "UNITS", "JUDGED", "FAILED", "MOVED", "FALLBACKS", "REQUESTS", "DOLLARS")


def headline(info: ExperimentInfo) -> str:
    """Which experiment, of what, and its state."""
    return f"experiment {info.id} ({info.name}) of {info.adapter}@{info.alias}: {info.state.replace('_', ' ')}"


def arms_of(outlook: Outlook) -> list[tuple[object, ...]]:
    """A row of `TABLE` for each arm."""
    return [
        (
            f"{one.name} (control)" if one.name == outlook.info.plan.arms[0] else one.name,
            None if one.share is None else f"{one.share / 100:g} %",
            one.units,
            one.judged,
            one.failed,
            one.moved,
            one.fallbacks,
            one.requests,
            f"{one.cost_nano / NANO:.4f}",
        )
        for one in outlook.arms
    ]


def ramp_of(info: ExperimentInfo) -> str:
    """The steps of the ramp, with the one that it is at."""
    steps = [
        f"[{step.percent:g} %]" if number == info.step else f"{step.percent:g} %"
        for number, step in enumerate(info.plan.ramp)
    ]
    since = f", since {when(info.stepped_at_ms)}" if info.stepped_at_ms else ""
    return f"ramp: {' → '.join(steps)}{since}"


def last_decision(log: Sequence[DecisionInfo]) -> str:
    """The newest line of the log."""
    if not log:
        return "nothing was decided yet"
    line = log[-1]
    return f"last decision, {when(line.at_ms)}: {line.kind}: {line.reason}"


def points_of(outlook: Outlook, arm: str) -> list[Point]:
    """The primary metric's sequence of one treatment; looks without two ends are left out."""
    looks = outlook.sequence.looks[arm]
    return [
        Point(one.units, one.estimate, one.low, one.high)
        for one in looks
        if one.low is not None and one.high is not None
    ]


def plots(outlook: Outlook, columns: int, rows: int) -> Iterator[str]:
    """A plot for each treatment, as many as fit; nothing while there is none."""
    plan = outlook.info.plan
    each = max(LEAST_PLOT_ROWS, min(MOST_PLOT_ROWS, rows // len(plan.treatments) - 2))
    for arm in plan.treatments[: max(1, rows // (LEAST_PLOT_ROWS + 2))]:
        if points := points_of(outlook, arm):
            yield f"{plan.metric.name}: {arm} less {plan.arms[0]}"
            yield from plotted(points, columns, each)


def aligned(rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Rows of a small table as lines."""
    texts = [["–" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
