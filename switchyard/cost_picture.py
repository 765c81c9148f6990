"""A cost report as a picture, PNG or SVG: tariff, engine cost and baselines of each line, or day by day."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.cost.report_words import said
from registry.days import as_datetime
from registry.errors import InvalidInput
from registry.money import NANO
from switchyard.scenario_picture import COLOURS, DASHES

if TYPE_CHECKING:
    from gateway.cost.report import CostLine, CostReport

MOST_BARS = 15
"""Lines that are drawn: the dearest."""
SMALLEST_PART = 1_000
"""A line of no tenant, of which the largest figure is a smaller part of the dearest one's, is not drawn."""
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "oo", "++")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WIDTH, INCH_A_BAR = 9.0, 0.16
MAX_NAME_CHARACTERS = 40


class Series(NamedTuple):
    """One figure of every line, in dollars; `None`: not known."""

    name: str
    dollars: tuple[float | None, ...]


def picture(report: CostReport, form: str) -> bytes:
    """The bytes of the file. Raises `InvalidInput` when nothing was used, or without matplotlib."""
    lines = [line for line in report.lines if _largest(line)]
    if not lines:
        raise InvalidInput("plot has nothing to draw: nothing in this window has a cost that is known", param="plot")
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InvalidInput(
            "plot needs matplotlib, which is not installed: pip install 'switchyard[train]'", param="plot"
        ) from None
    with mpl.rc_context({"svg.hashsalt": "switchyard", "svg.fonttype": "none", "text.parse_math": False}):
        figure = Figure(dpi=120, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        if report.by == "day":
            figure.set_size_inches(WIDTH, 4.5)
            _draw_days(axes, lines)
        else:
            _draw_bars(figure, axes, _dearest(lines))
        _label(axes, report)
        drawn = io.BytesIO()
        figure.savefig(drawn, format=form, metadata={"Date": None} if form == "svg" else None)
    return drawn.getvalue()


def _series(lines: Sequence[CostLine]) -> list[Series]:
    """Those of which anything is known."""
    names = [one.name for one in lines[0].baselines]
    figures = [("engines, fully loaded", [line.engine.loaded_nano for line in lines])]
    figures.append(("tariff", [line.tariff_nano for line in lines]))
    for at, name in enumerate(names):
        figures.append((f"at {name}", [line.baselines[at].cost_nano for line in lines]))
    found = (Series(name, tuple(None if nano is None else nano / NANO for nano in of)) for name, of in figures)
    return [one for one in found if any(value is not None for value in one.dollars)]


def _largest(line: CostLine) -> int:
    known = (line.tariff_nano, line.engine.loaded_nano, *(one.cost_nano for one in line.baselines))
    return max((abs(nano) for nano in known if nano is not None), default=0)


def _dearest(lines: Sequence[CostLine]) -> list[CostLine]:
    """The dearest lines in their order, without those of no tenant that would have no bar that anybody sees."""
    most = max(map(_largest, lines))
    worth = [line for line in lines if line.kind == "tenant" or _largest(line) * SMALLEST_PART >= most]
    dearest = sorted(worth, key=_largest, reverse=True)[:MOST_BARS]
    return [line for line in worth if line in dearest]


def _draw_bars(figure: Any, axes: Any, lines: Sequence[CostLine]) -> None:
    series = _series(lines)
    figure.set_size_inches(WIDTH, 1.6 + len(lines) * (len(series) + 1) * INCH_A_BAR)
    height = 1 / (len(series) + 1)
    for number, one in enumerate(series):
        places = [at + (number - (len(series) - 1) / 2) * height for at in range(len(lines))]
        known = [(place, value) for place, value in zip(places, one.dollars, strict=True) if value is not None]
        bars = axes.barh(
            [place for place, _ in known], [value for _, value in known], height, label=one.name,
            color=COLOURS[number % len(COLOURS)], hatch=HATCHES[number % len(HATCHES)], edgecolor="white",
            linewidth=0.5,
        )  # fmt: skip
        axes.bar_label(bars, [said(round(value * NANO)) for _, value in known], padding=3, fontsize=7)
    axes.set_yticks(range(len(lines)), [_plain(line.name)[:MAX_NAME_CHARACTERS] for line in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlabel("dollars")
    axes.margins(x=0.12)
    axes.xaxis.grid(visible=True, color="#E0E0E0", linewidth=0.6)


def _draw_days(axes: Any, lines: Sequence[CostLine]) -> None:
    by_day: dict[datetime, list[CostLine]] = {}
    for line in lines:
        by_day.setdefault(datetime.strptime(line.name[:10], "%Y-%m-%d").replace(tzinfo=UTC), []).append(line)
    sums: dict[str, list[float]] = {}
    for of in by_day.values():  # a day has lines of requests, of copies and of idle time
        for one in _series(lines):
            known = [value for two in _series(of) if two.name == one.name for value in two.dollars if value is not None]
            sums.setdefault(one.name, []).append(sum(known) if known else float("nan"))
    for number, (name, dollars) in enumerate(sums.items()):
        axes.plot(
            list(by_day), dollars, label=name,
            color=COLOURS[number % len(COLOURS)], linestyle=DASHES[number % len(DASHES)],
            marker=MARKERS[number % len(MARKERS)], markersize=4,
        )  # fmt: skip
    axes.set_ylabel("dollars a day")
    axes.set_ylim(bottom=0)
    axes.yaxis.grid(visible=True, color="#E0E0E0", linewidth=0.6)
    axes.figure.autofmt_xdate()


def _label(axes: Any, report: CostReport) -> None:
    since, until = as_datetime(report.since_ms), as_datetime(report.until_ms)
    who = f" of {report.tenant}" if report.tenant else ""
    axes.set_title(
        _plain(f"Cost by {report.by}{who}, {since:%Y-%m-%d} to {until:%Y-%m-%d} (UTC), prices {report.price_version}"),
        loc="left",
        fontsize=10,
    )
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)


def _plain(text: str) -> str:
    """In letters that the font has."""
    return text.encode("ascii", "backslashreplace").decode()
