"""A sequence of intervals as lines of text: the band, its estimate, and the line at 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

BAND, MIDDLE, ZERO, EMPTY = "░", "█", "┄", " "
LABEL_CHARS = 9


class Point(NamedTuple):
    """What was known after so many units."""

    units: int
    estimate: float
    low: float
    high: float


def plotted(points: Sequence[Point], width: int, height: int, zero: float = 0.0) -> Iterator[str]:
    """Lines of at most `width` characters: `height` rows, and one below that says how many units there were.

    The newest interval and `zero` are always in sight; what lies outside is cut. Nothing without points.
    """
    if not points:
        return
    columns = max(8, width - LABEL_CHARS - 2)
    shown = [points[at] for at in _spread(len(points), columns)]
    low, high = _scale(shown, zero)
    step = (high - low) / (height - 1)
    zero_row = round((high - zero) / step)
    for row in range(height):
        top, bottom = high - (row - 0.5) * step, high - (row + 0.5) * step
        cells = "".join(_cell(one, top, bottom, row == zero_row) for one in shown)
        at = zero if row == zero_row else high - row * step
        label = f"{at:+.3g}" if row in (0, height - 1, zero_row) else ""
        yield f"{label:>{LABEL_CHARS}} │{cells}".rstrip()
    left, right = f"{shown[0].units} units", f"{shown[-1].units}" if len(shown) > 1 else ""
    yield f"{'':>{LABEL_CHARS}} └{left}{right:>{max(len(right) + 1, len(shown) - len(left))}}".rstrip()


def _cell(point: Point, top: float, bottom: float, is_zero: bool) -> str:
    if bottom < point.estimate <= top:
        return MIDDLE
    if point.low < top and point.high > bottom:
        return BAND
    return ZERO if is_zero else EMPTY


def _scale(points: Sequence[Point], zero: float) -> tuple[float, float]:
    """Where the plot begins and ends: twice the newest band around what must be seen."""
    newest = points[-1]
    room = max(newest.high - newest.low, 1e-9)
    low, high = min(zero, newest.low) - room / 2, max(zero, newest.high) + room / 2
    lowest, highest = min(one.low for one in points), max(one.high for one in points)
    return max(low, min(lowest, zero) - room / 8), min(high, max(highest, zero) + room / 8)


def _spread(length: int, most: int) -> list[int]:
    """Indices of at most so many, evenly spread, with the last."""
    if length <= most:
        return list(range(length))
    return [round(number * (length - 1) / (most - 1)) for number in range(most)]
