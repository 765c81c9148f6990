"""What a month will come to: on series whose truth is known, and on those of which too little is known."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from gateway.cost.forecast import LEAST_DAYS, model_of
from gateway.cost.month_end import Calendar, month_end
from registry.days import DAY_MS, day_ms

WORKDAYS = (1.2, 1.3, 1.25, 1.2, 1.1, 0.5, 0.45)
START = 20_000
Series = Callable[[random.Random, int], list[float]]


def steady(chance: random.Random, days: int) -> list[float]:
    return [100 * chance.lognormvariate(0, 0.3) for _ in range(days)]


def weekly(chance: random.Random, days: int) -> list[float]:
    return [100 * WORKDAYS[day % 7] * chance.lognormvariate(0, 0.2) for day in range(days)]


def closed_at_weekends(chance: random.Random, days: int) -> list[float]:
    return [0.0 if day % 7 > 4 else 140 * chance.lognormvariate(0, 0.2) for day in range(days)]


def drifting(chance: random.Random, days: int) -> list[float]:
    level, found = 100.0, []
    for day in range(days):
        level *= math.exp(chance.gauss(0, 0.04))
        found.append(level * WORKDAYS[day % 7] * chance.lognormvariate(0, 0.2))
    return found


def heavy(chance: random.Random, days: int) -> list[float]:
    """Student's t with four degrees of freedom, on the scale of logarithms."""

    def deviate() -> float:
        return chance.gauss(0, 1) / math.sqrt(sum(chance.gauss(0, 1) ** 2 for _ in range(4)) / 4)

    return [100 * math.exp(0.3 * deviate()) for _ in range(days)]


def rare(chance: random.Random, days: int) -> list[float]:
    """Three requests a day, of very different lengths."""
    return [sum(chance.random() < 0.05 for _ in range(60)) * chance.lognormvariate(0, 0.5) for _ in range(days)]


def covered(series: Series, days: int, ahead: int, runs: int = 200) -> float:
    """The share of runs in which the sum of the days ahead is within the interval."""
    chance, hits, made = random.Random(f"{series.__name__} {days} {ahead}"), 0, 0
    for _ in range(runs):
        values = series(chance, days + ahead)
        model = model_of(values[:days], START + days)
        if model is not None:
            outlook = model.outlook(START + days + ahead)
            made += 1
            hits += outlook.low <= sum(values[days:]) <= outlook.high
    assert made > runs * 0.9
    return hits / made


@pytest.mark.parametrize("series", [steady, weekly, closed_at_weekends, heavy, rare])
@pytest.mark.parametrize(("days", "ahead"), [(14, 14), (28, 25), (60, 3), (90, 28)])
def test_nine_of_ten_months_end_within_their_interval(series: Series, days: int, ahead: int) -> None:
    assert covered(series, days, ahead) >= 0.86


@pytest.mark.parametrize(("days", "ahead"), [(14, 14), (28, 25), (60, 3), (90, 28)])
def test_a_level_that_drifts_ends_within_it_nearly_as_often(days: int, ahead: int) -> None:
    assert covered(drifting, days, ahead) >= 0.75


def test_the_interval_is_narrow_where_much_is_known() -> None:
    values = weekly(random.Random(1), 90)
    model = model_of(values, START + 90)
    assert model is not None
    outlook = model.outlook(START + 118)
    assert (outlook.high - outlook.low) / outlook.expected < 0.4
    assert model.factors[(START + 5) % 7] == pytest.approx(0.5, abs=0.1)


def test_one_wild_day_moves_the_forecast_little() -> None:
    quiet = weekly(random.Random(2), 60)
    wild = [*quiet[:50], quiet[50] * 40, *quiet[51:]]
    before, after = (model_of(one, START + 60) for one in (quiet, wild))
    assert before is not None
    assert after is not None
    assert after.outlook(START + 80).expected == pytest.approx(before.outlook(START + 80).expected, rel=0.15)


def test_a_series_that_never_changes_is_forecast_exactly_and_nothing_at_all_comes_to_nothing() -> None:
    model = model_of([5.0] * 30, START)
    assert model is not None
    outlook = model.outlook(START + 10)
    assert (round(outlook.low, 6), round(outlook.expected, 6), round(outlook.high, 6)) == (50, 50, 50)
    assert model_of([0.0] * 60, START) is None
    gone = model_of([5.0] * 20 + [0.0] * 60, START)
    assert gone is not None
    assert gone.outlook(START + 10).expected < 5


def test_it_is_too_early_before_two_whole_weeks_since_the_first_usage() -> None:
    assert model_of([0.0] * 50 + [9.0] * (LEAST_DAYS - 1), START) is None
    assert model_of([0.0] * 50 + [9.0] * LEAST_DAYS, START) is not None


def test_a_month_has_what_is_booked_and_what_is_still_to_come() -> None:
    calendar = Calendar.at(day_ms("2026-11-21", "at") + DAY_MS // 2)
    days = [0] * (calendar.today - calendar.history - 40) + [10] * 40 + [4]
    found = month_end(days, calendar)
    assert (found.booked_nano, found.expected_nano, found.low_nano, found.high_nano) == (204, 300, 300, 300)
    burst = month_end([*days[:-1], 500], calendar)
    assert (burst.booked_nano, burst.low_nano) == (700, 700)
    early = month_end([0] * (calendar.today - calendar.history - 3) + [10, 10, 10, 4], calendar)
    assert (early.expected_nano, early.booked_nano, early.days) == (None, 34, 3)


def test_on_the_first_of_a_month_all_of_it_is_still_to_come() -> None:
    calendar = Calendar.at(day_ms("2026-11-01", "at"))
    assert (calendar.first, calendar.end - calendar.first) == (calendar.today, 30)
    found = month_end([10] * (calendar.today - calendar.history) + [0], calendar)
    assert (found.booked_nano, found.expected_nano) == (0, 300)
