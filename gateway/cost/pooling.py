"""Break-even of the engines that are there, from what tenants did in a window. Reads sums by day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from gateway.cost.allocation import ASSUMED, PAID_BY_TENANTS, Allocation, Idle
from gateway.cost.baselines import Baseline, Tokens
from gateway.cost.bill import HOUR_MS
from gateway.cost.costing import allocation_of, default_idle
from gateway.cost.list_prices import known_baseline, listed_nano, tokens_said
from gateway.cost.scenario import HOURS_A_MONTH
from gateway.cost.sharing import IdleRule, Left, SharedMonth, TenantMonth, leave, share
from gateway.cost.whole import largest_remainder
from registry.days import DAY_MS, day_number
from registry.engine_costs.log import NOTHING
from registry.errors import InvalidInput
from registry.ledger.daily_usage import DailyUsage, daily_sums
from registry.money import dollars_to_nano
from registry.service import Registry

DEFAULT_DAYS, LEAST_DAYS, MOST_DAYS = 28, 3, 366


@dataclass(frozen=True, slots=True)
class PoolAsked:
    """What is to be looked at."""

    baseline: str
    tenant: str | None = None
    days: int = DEFAULT_DAYS
    """Whole days (UTC), yesterday the last; fewer where usage is younger."""
    bill_nano: int | None = None
    """A month, instead of what engines cost."""
    idle: Idle | None = None
    """`None`: as an operator has put it."""
    price_version: str | None = None


@dataclass(frozen=True, slots=True)
class PoolFound:
    """What came of it."""

    pool: SharedMonth
    left: Left | None
    """If the tenant that was asked about leaves."""
    tenant: str | None
    baseline: str
    days: int
    idle: IdleRule
    bill_is_given: bool
    by_tokens: bool
    """Whether the bill is divided by tokens, as no engine has a cost."""
    unlisted: int
    """Requests of the window that had no list price then: they are in no figure."""
    uncosted_hours: Fraction
    """Engines' hours in the window without a cost: what the bill lacks."""
    price_version: str
    tokens: str
    """Whose tokens are taken for whose, as a clause."""


def bill_given(dollars: str) -> int:
    """A month's bill as people write it. Raises `InvalidInput`."""
    bill = dollars_to_nano(dollars, "gpu_month")
    if bill == 0:
        raise InvalidInput("gpu_month is 0; what costs nothing always pays", param="gpu_month")
    return bill


def pool_of(registry: Registry, asked: PoolAsked, now_ms: int) -> PoolFound:
    """Raises `InvalidInput` where too little is known, and `NotFound` for a tenant, baseline or version that there is
    not.
    """
    if asked.tenant is not None:
        registry.tenants.get(asked.tenant)
    if not LEAST_DAYS <= asked.days <= MOST_DAYS:
        raise InvalidInput(f"days is {asked.days}; expected {LEAST_DAYS} to {MOST_DAYS}", param="days")
    version = asked.price_version or registry.baselines.version()
    baseline = known_baseline(registry, asked.baseline, version, now_ms)
    end = now_ms // DAY_MS
    usage = daily_sums(registry.db, end - asked.days, end)
    if not usage:
        raise InvalidInput(
            f"no tenant used anything on the {asked.days} whole days before today; ask for more days, or try "
            "`switchyard cost scenario` with traffic that you suppose",
            param="days",
        )
    if asked.bill_nano is None and registry.engine_costs.log().version == NOTHING:
        raise _without_bill()  # before all else is added up
    days = min(asked.days, end - _first_day(registry))
    month = Fraction(HOURS_A_MONTH, 24 * days)
    idle = asked.idle or default_idle(registry)
    allocation = allocation_of(registry, (end - days) * DAY_MS, end * DAY_MS, idle=idle)
    bill = round(allocation.bill.nano * month) if asked.bill_nano is None else asked.bill_nano
    if bill == 0:
        raise _without_bill()
    busy, platform = _busy(allocation, usage, bill)
    used, unlisted = _used(baseline, usage)
    months = [
        TenantMonth(tenant, requests * month, nano * month, busy_nano)
        for tenant, busy_nano in busy.items()
        for requests, nano in [used.get(tenant, (0, Fraction(0)))]
    ]
    rule = IdleRule(idle.policy, idle.shares)
    return PoolFound(
        share(bill, months, rule, platform),
        None if asked.tenant is None else leave(bill, months, rule, asked.tenant, platform),
        asked.tenant,
        asked.baseline,
        days,
        rule,
        asked.bill_nano is not None,
        not allocation.bill.nano,
        unlisted,
        Fraction(0 if asked.bill_nano is not None else allocation.bill.uncosted_ms, HOUR_MS),
        version,
        tokens_said([baseline]),
    )


def _without_bill() -> InvalidInput:
    return InvalidInput(
        "gpu_month is not given, and no engine has a cost; say one of them, or what engines cost with "
        "`switchyard cost engines add`",
        param="gpu_month",
    )


def _first_day(registry: Registry) -> int:
    """Of all usage, whatever the window: a day after it on which nobody used anything counts like any other."""
    span = registry.ledger.span_ms()
    return 0 if span is None else day_number(span[0])


def _busy(allocation: Allocation, usage: Sequence[DailyUsage], bill: int) -> tuple[dict[str, int], int]:
    """Tenant → what a month of engines costs while they work for it, and what it costs while they work for no tenant.
    Of engines without a cost nobody knows for how long they worked: all of the bill, by tokens.
    """
    own = [line for line in allocation.lines if line.kind in PAID_BY_TENANTS and line.busy_nano]
    busy = dict.fromkeys(sorted({one.tenant for one in usage} | {line.tenant for line in own}), 0)
    if not allocation.bill.nano:
        for one in usage:
            uncached = one.prompt_tokens - one.cached_tokens
            busy[one.tenant] += ASSUMED.uncached_ps * uncached + ASSUMED.completion_ps * one.completion_tokens
        if any(busy.values()):
            busy = dict(zip(busy, largest_remainder(bill, list(busy.values())), strict=True))
        return busy, 0
    for line in own:
        busy[line.tenant] += line.busy_nano
    platform = sum(line.busy_nano for line in allocation.lines if line.kind not in PAID_BY_TENANTS)
    *parts, of_platform = (bill * nano // allocation.bill.nano for nano in (*busy.values(), platform))
    return dict(zip(busy, parts, strict=True)), of_platform


def _used(baseline: Baseline, usage: Sequence[DailyUsage]) -> tuple[dict[str, tuple[int, Fraction]], int]:
    """Tenant → its requests that have a list price, and what they come to; and how many have none. Tokens of one price
    are added up first, which is exact.
    """
    periods = {day: baseline.period_at(day * DAY_MS) for day in {one.day for one in usage}}
    sums: dict[tuple[str, int], list[int]] = {}  # a day of that price, requests, and tokens as `Tokens` has them
    unlisted = 0
    for one in usage:
        if (period := periods[one.day]) is None:
            unlisted += one.requests
            continue
        of = sums.setdefault((one.tenant, period.from_ms), [one.day, 0, 0, 0, 0])
        of[1] += one.requests
        of[2] += one.prompt_tokens
        of[3] += one.cached_tokens
        of[4] += one.completion_tokens
    found: dict[str, tuple[int, Fraction]] = {}
    for (tenant, _), (day, requests, *tokens) in sums.items():
        nano = listed_nano(baseline, tenant, day, Tokens(*tokens))
        assert nano is not None
        before = found.get(tenant, (0, Fraction(0)))
        found[tenant] = before[0] + requests, before[1] + nano
    return found, unlisted
