"""Month-end forecasts and unusual days of tenants, from what the registry knows. Reads sums by day."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from gateway.cost.anomalies import Jump, jump_on
from gateway.cost.baselines import Baseline, Tokens
from gateway.cost.engine_ahead import engines_ahead
from gateway.cost.forecast import MOST_DAYS
from gateway.cost.list_prices import known_baseline, listed_nano, tokens_by_day, tokens_said
from gateway.cost.month_end import Calendar, MonthEnd, by_day, month_end
from gateway.cost.whole import half_up
from registry.days import DAY_MS
from registry.errors import InvalidInput
from registry.ledger.daily_usage import DailyUsage, daily_sums, daily_usage
from registry.service import Registry

MOST_LOOKED_AT = 31
"""Days that are looked at for jumps at once."""


@dataclass(frozen=True, slots=True)
class TenantForecast:
    """What one tenant's month will come to. `None`: none of it has a price."""

    tenant: str
    requests: int
    """This month, until now."""
    tariff: MonthEnd | None
    engine_cost: MonthEnd | None
    """Loaded; of whole days."""
    baselines: Mapping[str, MonthEnd | None]
    unpriced: int
    """Of the requests, those for which no tariff was in force."""


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Of all tenants that used anything in the last 91 days, or that engines cost something for; or of some."""

    month_starts_ms: int
    month_ends_ms: int
    price_version: str
    tokens: str
    """Whose tokens are taken for whose, as a clause; empty without baselines."""
    engine_uncosted: int
    """Attempts of days that were looked at on engines without a cost, all tenants'."""
    tenants: tuple[TenantForecast, ...]
    of_tenants: int
    """That there are, with those that were left out."""


def forecasts(
    registry: Registry,
    now_ms: int,
    *,
    tenant: str | None = None,
    most: int | None = None,
    baselines: Sequence[str] = (),
    price_version: str | None = None,
) -> Forecasts:
    """Of the month that is running; with `most` of so many tenants alone, those that were charged most in it, else
    those that engines cost most for: a tenant's month is milliseconds of arithmetic. Raises `NotFound` for a tenant,
    baseline or version that there is not.
    """
    if tenant is not None:
        registry.tenants.get(tenant)
    calendar = Calendar.at(now_ms)
    usage = daily_sums(registry.db, calendar.history, calendar.today + 1, tenant)
    version = price_version or registry.baselines.version()
    known = [known_baseline(registry, name, version, now_ms, tenant=tenant) for name in dict.fromkeys(baselines)]
    charged = ((one.tenant, one.day, one.tariff_nano if one.unpriced < one.requests else None) for one in usage)
    tariff = by_day(charged, calendar)
    tokens = tokens_by_day(usage) if known else {}
    listed = {one.name: by_day(_listed(one, tokens), calendar) for one in known}
    engines = engines_ahead(registry, calendar)
    costly = engines.days.keys() if tenant is None else engines.days.keys() & {tenant}
    counts: dict[str, list[int]] = {name: [0, 0] for name in {one.tenant for one in usage} | costly}
    for one in usage:
        if one.day >= calendar.first:
            of = counts[one.tenant]
            of[:] = of[0] + one.requests, of[1] + one.unpriced
    found = [
        TenantForecast(
            name,
            counts[name][0],
            _end(tariff.get(name), calendar),
            _end(engines.days.get(name), calendar),
            {baseline: _end(of.get(name), calendar) for baseline, of in listed.items()},
            counts[name][1],
        )
        for name in _dearest(counts, (tariff, engines.days), calendar, most)
    ]
    return Forecasts(
        calendar.first * DAY_MS,
        calendar.end * DAY_MS,
        version,
        tokens_said(known),
        engines.uncosted_attempts,
        tuple(found),
        len(counts),
    )


def _dearest(
    names: Iterable[str], figures: Sequence[Mapping[str, Sequence[int]]], calendar: Calendar, most: int | None
) -> list[str]:
    """By name, those that come to most this month by the first of the figures that tells them apart."""
    if most is None:
        return sorted(names)
    month = calendar.first - calendar.history

    def comes_to(name: str) -> list[int]:
        return [-sum(of.get(name, ())[month:]) for of in figures]

    return sorted(sorted(names, key=lambda name: (comes_to(name), name))[:most])


def _end(days: Sequence[int] | None, calendar: Calendar) -> MonthEnd | None:
    return None if days is None else month_end(days, calendar)


def _listed(baseline: Baseline, tokens: Mapping[tuple[str, int], Tokens]) -> Iterator[tuple[str, int, int | None]]:
    for (tenant, day), of in tokens.items():
        exact = listed_nano(baseline, tenant, day, of)
        yield tenant, day, None if exact is None else half_up(exact)


def jumps(registry: Registry, now_ms: int, *, tenant: str | None = None, days: int = 1) -> tuple[Jump, ...]:
    """Of the last whole days, the newest first. Raises `InvalidInput` for too many days, `NotFound` for a tenant that
    there is not.
    """
    return jumps_of(registry, last_days(registry, now_ms, tenant=tenant, days=days), tenant)


def last_days(registry: Registry, now_ms: int, *, tenant: str | None, days: int) -> range:
    """So many whole days, yesterday the last. Raises as `jumps` does."""
    if not 1 <= days <= MOST_LOOKED_AT:
        raise InvalidInput(f"days is {days}; expected 1 to {MOST_LOOKED_AT}", param="days")
    if tenant is not None:
        registry.tenants.get(tenant)
    today = now_ms // DAY_MS
    return range(today - days, today)


def jumps_of(registry: Registry, days: Sequence[int], tenant: str | None = None) -> tuple[Jump, ...]:
    """Of these days, in order, the newest first. It is a millisecond of arithmetic for each day of a tenant."""
    if not days:
        return ()
    sums = daily_sums(registry.db, days[0] - MOST_DAYS, days[-1] + 1, tenant)
    by_tenant = {name: list(of) for name, of in groupby(sorted(sums, key=_by_tenant), key=_by_tenant)}
    found = [
        jump for day in days for jump in jumps_among(registry, (_until(of, day) for of in by_tenant.values()), day)
    ]
    return tuple(sorted(found, key=lambda one: (-one.day, one.tenant)))


def _by_tenant(one: DailyUsage) -> str:
    return one.tenant


def _until(own: Sequence[DailyUsage], day: int) -> Sequence[DailyUsage]:
    """What a jump on that day is seen by; `own` is in the order of days."""

    def day_of(one: DailyUsage) -> int:
        return one.day

    return own[bisect_left(own, day - MOST_DAYS, key=day_of) : bisect_right(own, day, key=day_of)]


def jumps_among(registry: Registry, sums: Iterable[Sequence[DailyUsage]], day: int) -> list[Jump]:
    """Of tenants whose sums by day are given, one after the other, those that jumped on that day. Slices are read of
    these alone.
    """
    first = day - MOST_DAYS
    jumped = [of[0].tenant for of in sums if of and jump_on(of, day, first) is not None]
    found = [jump_on(daily_usage(registry.db, first, day + 1, tenant), day, first) for tenant in jumped]
    return [jump for jump in found if jump is not None]
