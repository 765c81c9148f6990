"""What lies across a plot, or down it: margins and limits, and what happened; each with its key in the legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dashboard.components.figures import Form
from dashboard.components.scales import Axis

WIDTH, HEIGHT = 1000.0, 100.0
"""Of the drawing of a plot."""


@dataclass(frozen=True, slots=True)
class Level:
    """A line across the plot: a margin, a limit, a goal."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Moment:
    """A line down the plot: something that happened."""

    name: str
    at_ms: float


def drawn_level(level: Level, axis: Axis) -> Markup:
    """Over the whole width."""
    return Markup('<path class="level" d="M0,{:.2f}H1000"><title>{}</title></path>').format(
        HEIGHT - axis.place(level.value, HEIGHT), level.name
    )


def drawn_moments(moments: Sequence[Moment], first_ms: float, last_ms: float) -> list[Markup]:
    """Those that lie within a plot of that time, each name with its own dashes."""
    names = list(dict.fromkeys(moment.name for moment in moments))
    return [
        Markup('<path class="moment m{}" d="M{:.1f},0V100"><title>{}</title></path>').format(
            names.index(one.name), (one.at_ms - first_ms) / ((last_ms - first_ms) or 1.0) * WIDTH, one.name
        )
        for one in moments
        if first_ms <= one.at_ms <= last_ms
    ]


def keys_of_marks(levels: Sequence[Level], moments: Sequence[Moment], form: Form) -> list[Markup]:
    """Entries of a legend, each name once; a level has its value."""
    mark = Markup('<path class="{}" d="M0,5H20"/>')
    across = [key_of(mark.format("level"), f"{level.name} ({form(level.value)})") for level in levels]
    names = dict.fromkeys(moment.name for moment in moments)
    return across + [key_of(mark.format(f"moment m{number}"), name) for number, name in enumerate(names)]


def key_of(mark: Markup, name: str) -> Markup:
    """One entry of a legend: how it is drawn, in 20 × 10, and what it is."""
    return Markup('<li><svg class="key" viewBox="0 0 20 10" aria-hidden="true">{}</svg>{}</li>').format(mark, name)
