"""What a tenant's month will come to: what is booked, and the days that are left of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.cost.forecast import LEAST_DAYS, MOST_DAYS, model_of
from registry.days import DAY_MS, month_of


@dataclass(frozen=True, slots=True)
class Calendar:
    """The month that an instant is in, in days since the epoch (UTC)."""

    first: int
    """Of the month."""
    today: int
    end: int
    """The first day of the month after it."""

    @classmethod
    def at(cls, now_ms: int) -> Calendar:
        """Of an instant."""
        starts_ms, ends_ms = month_of(now_ms)
        return cls(starts_ms // DAY_MS, now_ms // DAY_MS, ends_ms // DAY_MS)

    @property
    def history(self) -> int:
        """The first day that a forecast looks at."""
        return min(self.first, self.today - MOST_DAYS)


@dataclass(frozen=True, slots=True)
class MonthEnd:
    """One figure of one tenant, in nano-dollars. `expected` and its 90 % interval are `None` while it is too early."""

    booked_nano: int
    """This month, today until now included."""
    expected_nano: int | None
    low_nano: int | None
    high_nano: int | None
    days: int
    """Whole days since its first usage that the forecast is made of, 91 at most."""


def month_end(days: Sequence[int], calendar: Calendar) -> MonthEnd:
    """Of nano-dollars by day, from `calendar.history` to today, which is the last and not over yet."""
    *whole, today = days
    over = sum(whole[calendar.first - calendar.history :])
    booked = over + today
    model = model_of(whole, calendar.today)
    if model is None:
        first = next((at for at, value in enumerate(whole) if value > 0), len(whole))
        return MonthEnd(booked, None, None, None, min(len(whole) - first, LEAST_DAYS - 1))
    ahead = model.outlook(calendar.end)
    expected, low, high = (max(booked, over + round(one)) for one in (ahead.expected, ahead.low, ahead.high))
    return MonthEnd(booked, expected, low, high, model.days)


def by_day(figures: Iterable[tuple[str, int, int | None]], calendar: Calendar) -> dict[str, list[int]]:
    """Tenant → what its days come to, from `calendar.history` to today, of figures by tenant and day. Of what has no
    price (`None`) nothing is in it, and a tenant of whom nothing has one is left out.
    """
    found: dict[str, list[int]] = {}
    first = calendar.history
    number = calendar.today - first + 1
    for tenant, day, nano in figures:
        if nano is not None:
            if (days := found.get(tenant)) is None:
                days = found[tenant] = [0] * number
            days[day - first] += nano
    return found
