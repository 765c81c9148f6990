"""Where a number lies on an axis, and which numbers stand at it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

TICKS = 4
NICE = (1.0, 2.0, 2.5, 5.0, 10.0)
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Axis:
    """Evenly spaced ticks from `low` to `high`, both of which are ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float, length: float) -> float:
        """Where a value lies on an axis of that length, from `low`."""
        return (value - self.low) / (self.high - self.low) * length


def axis_of(values: Iterable[float | None], *, from_zero: bool = True, most: int = TICKS) -> Axis:
    """The smallest axis of round numbers, of at most `most` steps, on which all values lie."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high == low:
        high = low + (abs(low) or 1.0)
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (*NICE, 20.0, 25.0, 50.0):
        step = factor * power
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= most:
            break
    ticks = tuple(round(number * step, 12) for number in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def clock(at_ms: float, span_ms: float) -> str:
    """A moment at an axis of time that is so long, in UTC."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    if span_ms <= 10 * 60 * 1000:
        return f"{at:%H:%M:%S}"
    if span_ms <= 2 * DAY_S * 1000:
        return f"{at:%H:%M}"
    return f"{at:%d %b}" if span_ms <= 300 * DAY_S * 1000 else f"{at:%b %Y}"
