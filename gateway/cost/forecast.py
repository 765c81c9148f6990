"""What a month will come to: a level that drifts, a shape of the week, and an interval. Pure arithmetic, no numpy.

    day = level · factor of its weekday + noise,    level = level of the day before + drift

The factors are medians over up to eight whole weeks of each weekday's part of its week. A day that is more than four
robust deviations from the days around it counts as if it were so far. The variances of noise and drift, as parts of the
level squared, follow from how far days differ that are one and that are one or two weeks apart (a variogram), the level
from a Kalman filter with these (A. C. Harvey, Forecasting, structural time series models and the Kalman filter, 1989,
section 4.1.2). The sum of the days to come has the variance of level, noise, drift and factors together; its interval
is that of a lognormal variable with this mean and variance, so that it is never negative, by the quantile of Student's
t for few days. A trend is not carried on: it makes the drift, and with it the interval, larger.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

WEEK = 7
LEAST_DAYS = 14
"""Whole days since the first usage, before which it is too early: nothing is known of the week yet."""
MOST_DAYS = 91
"""Older ones are not looked at."""
LEAST_WEEKS, MOST_WEEKS = 2, 8
LONG_DAYS = 42
"""From so many on, drift is read from days that are two weeks apart, and not one."""
ROBUST = 1.4826
"""Times the median distance from the median is a normal variable's standard deviation."""
CUT = 4.0
"""Robust deviations at which a difference is cut."""
LEAST_FACTOR = 0.1
"""A weekday with less than this part of a mean day says nothing of the level."""
T_90 = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81, 1.80, 1.78, 1.77, 1.76, 1.75)
"""Of Student's t: 5 % of either side lie beyond, with 1, 2, 3 … degrees of freedom; 1.645 with very many."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What days to come sum up to."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Model:
    """What a series of days is like. `day` is the one after its last."""

    day: int
    factors: tuple[float, ...]
    """By weekday; mean 1."""
    weeks: int
    """Of which they are medians; 0: too few, and all are 1."""
    level: float
    level_variance: float
    noise: float
    """Variance of a day with the factor 1."""
    drift: float
    """Variance by which the level moves in a day."""
    days: int
    """That it was made of."""

    def expected(self, day: int) -> float:
        """Of one day."""
        return self.level * self.factors[day % WEEK]

    def outlook(self, until: int) -> Outlook:
        """The sum of the days from `day` to `until`, exclusive."""
        factors = [self.factors[day % WEEK] for day in range(self.day, until)]
        total, weight = self.level * sum(factors), sum(factors)
        if total <= 0:
            return Outlook(0.0, 0.0, 0.0)
        variance = self.level_variance * weight**2 + self.noise * sum(one**2 for one in factors)
        variance += self.drift * sum(sum(factors[at:]) ** 2 for at in range(len(factors)))
        if self.weeks:
            counts = [len([day for day in range(self.day, until) if day % WEEK == weekday]) for weekday in range(WEEK)]
            variance += self.noise / self.weeks * sum(count**2 for count in counts)
        spread = math.sqrt(math.log1p(variance / total**2)) * t_quantile(self.days)
        return Outlook(total, total * math.exp(-spread), total * math.exp(spread))


def model_of(values: Sequence[float], day: int) -> Model | None:
    """Of whole days, the last of which is the one before `day`; `None` while it is too early.

    Days before the first that is not 0 are left out, as nobody was there.
    """
    first = next((at for at, value in enumerate(values) if value > 0), len(values))
    kept = [float(value) for value in values[max(first, len(values) - MOST_DAYS) :]]
    if len(kept) < LEAST_DAYS:
        return None
    start = day - len(kept)
    factors, weeks = _factors(kept, start)
    shaped = [(factors[(start + at) % WEEK], value) for at, value in enumerate(kept)]
    levels = _within([value / factor if factor >= LEAST_FACTOR else None for factor, value in shaped])
    noise, drift = _variances(levels)
    level, variance = _filtered(levels, noise, drift)
    square = level**2
    return Model(day, factors, weeks, level, variance * square, noise * square, drift * square, len(kept))


def t_quantile(days: int) -> float:
    """For that many days, so that 90 % of months end within their interval, where the model holds. Differences over
    weeks say little more than one thing each.
    """
    freedom = max(1, days // 5)
    return T_90[freedom - 1] if freedom <= len(T_90) else 1.645 + 1.6 / freedom


def _factors(values: Sequence[float], start: int) -> tuple[tuple[float, ...], int]:
    """By weekday, counted as days are from the epoch; and of how many weeks."""
    parts: list[list[float]] = [[] for _ in range(WEEK)]
    weeks = 0
    for end in range(len(values), WEEK - 1, -WEEK):
        week = values[end - WEEK : end]
        total = sum(week)
        if weeks < MOST_WEEKS and total > 0:
            weeks += 1
            for at, value in enumerate(week, start + end - WEEK):
                parts[at % WEEK].append(WEEK * value / total)
    medians = [median(of) if of else 0.0 for of in parts]
    mean = sum(medians) / WEEK
    if weeks < LEAST_WEEKS or mean == 0:
        return (1.0,) * WEEK, 0
    return tuple(one / mean for one in medians), weeks


def _within(levels: Sequence[float | None]) -> list[tuple[float, float] | None]:
    """Each day's level, where it is not far off from those of the days around it, and else as far as it may be; and the
    median of these days.
    """
    around = _with_medians(levels)
    far = (
        CUT * ROBUST * median([abs(one - middle) / middle for one, middle in filter(None, around) if middle > 0] or [0])
    )
    return [
        None if found is None else (max(found[1] * (1 - far), min(found[1] * (1 + far), found[0])), found[1])
        for found in around
    ]


def _with_medians(levels: Sequence[float | None]) -> list[tuple[float, float] | None]:
    """Each day's level with the median of the days up to a week around it, from a window that is kept in order."""
    near: list[float] = []
    around: list[tuple[float, float] | None] = []
    comes = 0
    for at, one in enumerate(levels):
        for other in levels[comes : at + WEEK + 1]:
            if other is not None:
                insort(near, other)
        comes = at + WEEK + 1
        goes = levels[at - WEEK - 1] if at > WEEK else None
        if goes is not None:
            del near[bisect_left(near, goes)]
        half = len(near) // 2
        middle = 0.0 if not near else near[half] if len(near) % 2 else (near[half - 1] + near[half]) / 2
        around.append(None if one is None else (one, middle))
    return around


def _variances(levels: Sequence[tuple[float, float] | None]) -> tuple[float, float]:
    """Of noise and drift, as parts of the level squared: V(k) = 2 · noise + k · drift, of differences k days apart."""
    apart = 2 * WEEK if len(levels) >= LONG_DAYS else WEEK
    near, far = _variogram(levels, 1), _variogram(levels, apart)
    drift = 0.0 if far is None or near is None else max(0.0, (far - near) / (apart - 1))
    return max(0.0, ((near or 0.0) - drift) / 2), drift


def _variogram(levels: Sequence[tuple[float, float] | None], apart: int) -> float | None:
    pairs = zip(levels, levels[apart:], strict=False)
    differences = [
        2 * (b[0] - a[0]) / (a[1] + b[1]) for a, b in pairs if a is not None and b is not None and a[1] + b[1] > 0
    ]
    return sum(one**2 for one in differences) / len(differences) if len(differences) >= 3 else None


def _filtered(levels: Sequence[tuple[float, float] | None], noise: float, drift: float) -> tuple[float, float]:
    """The level at the end, and its variance as a part of its square."""
    known = [one[0] for one in levels if one is not None]
    if not known:
        return 0.0, 0.0
    level, variance = known[0], noise + drift
    for one in levels:
        variance += drift
        if one is not None and variance + noise > 0:
            gain = variance / (variance + noise)
            level += gain * (one[0] - level)
            variance *= 1 - gain
    return level, variance
