"""An experiment as lines of text: what it has found, in words and as a plot, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from registry.days import when
from registry.experiments.words import duration
from registry.money import NANO
from switchyard.sequence_plot import Point, plotted

if TYPE_CHECKING:
    from gateway.experiments.decisions import Move
    from gateway.experiments.standing import Standing
    from registry.experiments.infos import DecisionInfo, ExperimentInfo

LEAST_PLOT_ROWS, MOST_PLOT_ROWS = 8, 18
TABLE = ("ARM", "TRAFFIC", "UNITS", "JUDGED", "FAILED", "MOVED", "FALLBACKS", "REQUESTS", "DOLLARS")


def headline(info: ExperimentInfo) -> str:
    """Which experiment, of what, and its state."""
    return f"experiment {info.id} ({info.name}) of {info.adapter}@{info.alias}: {info.state.replace('_', ' ')}"


def arms_of(info: ExperimentInfo) -> list[tuple[object, ...]]:
    """A row of `TABLE` for each arm."""
    standing, counts = _figures(info), (info.standing or {}).get("counts", {})
    rows: list[tuple[object, ...]] = []
    for arm in info.plan.arms:
        of = counts.get(arm, {})
        rows.append(
            (
                f"{arm} (control)" if arm == info.plan.arms[0] else arm,
                f"{info.weights.get(arm, 0) / 100:g} %" if info.weights else None,
                standing.get("units", {}).get(arm, 0),
                standing.get("folded", {}).get(arm, 0),
                of.get("failed_units", 0),
                of.get("moved", 0),
                of.get("fallbacks", 0),
                of.get("attempts", 0),
                f"{of.get('cost_nano', 0) / NANO:.4f}",
            )
        )
    return rows


def _figures(info: ExperimentInfo) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (info.standing or {}).get("standing", {})
    return found


def findings(info: ExperimentInfo, standing: Standing | None) -> Iterator[str]:
    """What is known, a sentence a line."""
    if standing is None:
        yield "nothing is known yet"
        return
    if info.plan.unit == "window":
        yield f"units are windows of {duration(info.plan.window_s or 0)}, in which all traffic has one arm"
    for arm, verdict in standing.primary.items():
        yield f"{info.plan.metric.name}: {verdict.text}"
        if arm in standing.joint:
            yield standing.joint[arm].text
    for by_arm in standing.guardrails.values():
        yield from (f"guardrail {verdict.text}" for verdict in by_arm.values())
    for by_arm in standing.strata.values():
        yield from (verdict.text for verdict in by_arm.values())
    for by_arm in standing.missing.values():
        yield from (verdict.text for verdict in by_arm.values() if verdict.word == "worse")
    yield from standing.notes


def ramp_of(info: ExperimentInfo) -> str:
    """The steps of the ramp, with the one that it is at."""
    steps = [
        f"[{step.percent:g} %]" if number == info.step else f"{step.percent:g} %"
        for number, step in enumerate(info.plan.ramp)
    ]
    since = f", since {when(info.stepped_at_ms)}" if info.stepped_at_ms else ""
    return f"ramp: {' → '.join(steps)}{since}"


def following(info: ExperimentInfo, move: Move | None) -> str:
    """What comes next, and when."""
    if info.moving:
        return f"swap {info.swap_id} carries out the last decision"
    if move is None:
        ended = info.ended_at_ms is not None
        return "it has ended" if ended else "nothing is decided before somebody says so"
    at = f" (at {when(move.next_at_ms)} at the earliest)" if move.next_at_ms is not None else ""
    return f"next: {move.kind}: {move.reason}{at}"


def last_decision(log: Sequence[DecisionInfo]) -> str:
    """The newest line of the log."""
    if not log:
        return "nothing was decided yet"
    line = log[-1]
    return f"last decision, {when(line.at_ms)}: {line.kind}: {line.reason}"


def points_of(info: ExperimentInfo, arm: str) -> list[Point]:
    """The primary metric's sequence of one treatment; looks without two ends are left out."""
    history = (info.standing or {}).get("analysis", {}).get("history", {}).get("points", ())
    found = []
    for units, looks in history:
        estimate, low, high = looks.get(arm, (0.0, None, None))
        if low is not None and high is not None:
            found.append(Point(units, estimate, low, high))
    return found


def plots(info: ExperimentInfo, columns: int, rows: int) -> Iterator[str]:
    """A plot for each treatment, as many as fit; nothing while there is none."""
    each = max(LEAST_PLOT_ROWS, min(MOST_PLOT_ROWS, rows // len(info.plan.treatments) - 2))
    for arm in info.plan.treatments[: max(1, rows // (LEAST_PLOT_ROWS + 2))]:
        if points := points_of(info, arm):
            yield f"{info.plan.metric.name}: {arm} less {info.plan.arms[0]}"
            yield from plotted(points, columns, each)


def aligned(rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Rows of a small table as lines."""
    texts = [["–" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
