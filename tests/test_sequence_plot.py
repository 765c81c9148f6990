"""The sequence of an experiment as lines of text."""

from __future__ import annotations

import math

from switchyard.sequence_plot import BAND, MIDDLE, ZERO, Point, plotted


def narrowing(count: int) -> list[Point]:
    """Around 0.05, and ever narrower."""
    return [
        Point(units, 0.05, 0.05 - 1 / math.sqrt(units), 0.05 + 1 / math.sqrt(units)) for units in range(10, 10 + count)
    ]


def test_it_fits_and_shows_band_estimate_and_zero() -> None:
    lines = list(plotted(narrowing(3_000), width=60, height=12))
    assert len(lines) == 13
    assert all(len(line) <= 60 for line in lines)
    newest = [line.ljust(60)[59 - 1] for line in lines[:-1]]
    assert {BAND, MIDDLE} <= set(newest)
    zero = next(line for line in lines if line.lstrip().startswith("+0 "))
    assert ZERO in zero
    assert lines[-1].split() == ["└10", "units", "3009"]


def test_a_few_points_and_one_that_does_not_move_are_shown() -> None:
    assert any(MIDDLE in line for line in plotted([Point(5, 0.0, 0.0, 0.0)], width=40, height=8))
    assert list(plotted([], width=40, height=8)) == []
    assert list(plotted([Point(205, -0.9, -1.0, -0.8)], width=40, height=8))[-1].strip() == "└205 units"
