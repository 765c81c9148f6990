"""From how many requests engines of one's own pay, alone and shared, and what follows when a tenant leaves. Pure.

    alone         bill / what a request of the tenant costs at the API (`registry.break_even`)
    shared        (bill - what the others would pay there) / the same: so many it needs while they are there
    more like it  (bill - what all would pay there) / what the tenant would pay there; negative: so many could leave

All figures are of a month. The bill does not depend on requests: engines are paid for by the hour. What a tenant is
charged with of it is its busy part, and its part of the idle time by the idle policy; when it leaves, its busy part
becomes idle time. What copies and our own probes kept engines busy for is the platform's, and neither idle time nor a
tenant's.

**Shapley.** A group of tenants would do what costs it less: pay the whole bill, or the API. A tenant's fair share is
what it adds to that on average over all orders in which tenants can have come (L. S. Shapley, A value for n-person
games, 1953). It never pays more than it would at the API. Exact for up to 10 tenants; else over orders that are drawn
by a fixed seed, each also backwards, as many as `MOST_STEPS` allow. Tenants that would pay alike have the same share.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import comb

from gateway.cost.whole import largest_remainder
from registry.break_even import break_even
from registry.errors import NotFound

MOST_EXACT, MOST_ORDERS = 10, 2_000
MOST_STEPS = 200_000
"""Tenants in all orders that are drawn: so many take about a tenth of a second."""
NOBODY = ""
"""Of a part of the bill that no tenant pays."""


@dataclass(frozen=True, slots=True)
class TenantMonth:
    """What a tenant does in a month, at the pace of the window that was looked at."""

    tenant: str
    requests: Fraction
    baseline_nano: Fraction
    """What it would pay at the API."""
    busy_nano: int
    """What engines cost while they work for it."""


@dataclass(frozen=True, slots=True)
class IdleRule:
    """Who pays for idle time: `unallocated`, `by_share`, `equal` or `reserved`; `shares` in billionths, of the last."""

    policy: str = "unallocated"
    shares: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class TenantBreakEven:
    """A tenant on the shared engines, beside the API."""

    tenant: str
    requests: int
    """A month."""
    baseline_nano: int
    loaded_nano: int
    """What it is charged with of the bill, idle time by the policy included."""
    shapley_nano: int
    alone: int | None
    """Requests a month from which engines of its own pay; `None`: its requests cost nothing at the API."""
    shared: int | None
    """Requests a month from which the shared engines pay, as long as the others stay; 0: they pay without it."""
    more_like_it: Fraction | None
    """Tenants like it, until the shared engines pay; negative: they pay already, and so many could leave."""

    @property
    def saved_nano(self) -> int:
        """Against the API; negative: the API costs less."""
        return self.baseline_nano - self.loaded_nano


@dataclass(frozen=True, slots=True)
class Left:
    """What follows if a tenant leaves: the bill stays."""

    tenant: str
    more: Mapping[str, int]
    """Tenant → nano-dollars more a month; `NOBODY`: what is added to the idle time that no one pays."""
    saved_nano: int
    """Of all who stay, against the API, after it."""


@dataclass(frozen=True, slots=True)
class SharedMonth:
    """All tenants of the engines, and all of their bill."""

    bill_nano: int
    platform_nano: int
    """Of it, for what engines did for no tenant."""
    requests: int
    baseline_nano: int
    requests_needed: int | None
    """A month, of tenants as they are, from which the engines pay; `None`: they cost nothing at the API."""
    tenants: tuple[TenantBreakEven, ...]
    orders: int | None
    """That fair shares are the mean of; `None`: of all there are."""

    @property
    def saved_nano(self) -> int:
        """Against the API; negative: the API costs less."""
        return self.baseline_nano - self.bill_nano


def share(bill_nano: int, months: Sequence[TenantMonth], idle: IdleRule, platform_nano: int = 0) -> SharedMonth:
    """Of one bill."""
    charged = loaded(bill_nano, months, idle, platform_nano)
    fair = shapley(bill_nano, {one.tenant: one.baseline_nano for one in months})
    total = sum((one.baseline_nano for one in months), Fraction(0))
    requests = sum((one.requests for one in months), Fraction(0))
    return SharedMonth(
        bill_nano,
        platform_nano,
        round(requests),
        round(total),
        break_even(bill_nano, total / requests) if requests else None,
        tuple(_tenant(one, bill_nano, total, charged, fair) for one in months),
        orders_for(len(months)),
    )


def _tenant(
    month: TenantMonth, bill_nano: int, total: Fraction, charged: Mapping[str, int], fair: Mapping[str, Fraction]
) -> TenantBreakEven:
    own = month.baseline_nano
    each = own / month.requests if month.requests else Fraction(0)
    others = total - own
    return TenantBreakEven(
        month.tenant,
        round(month.requests),
        round(own),
        charged[month.tenant],
        round(fair[month.tenant]),
        break_even(bill_nano, each),
        break_even(max(Fraction(0), bill_nano - others), each),
        (bill_nano - total) / own if own > 0 else None,
    )


def loaded(bill_nano: int, months: Iterable[TenantMonth], idle: IdleRule, platform_nano: int = 0) -> dict[str, int]:
    """Tenant → what it is charged with; with `NOBODY` they are the bill, exactly."""
    busy = {one.tenant: one.busy_nano for one in sorted(months, key=lambda one: one.tenant)}
    rest = bill_nano - sum(busy.values()) - platform_nano
    match idle.policy:
        case "by_share":
            parts = dict(busy)
        case "equal":
            parts = dict.fromkeys(busy, 1)
        case "reserved":
            parts = {tenant: (idle.shares or {}).get(tenant, 0) for tenant in busy}
            parts[NOBODY] = 10**9 - sum(parts.values())
        case _:
            parts = {}
    if not any(parts.values()):
        parts = {NOBODY: 1}
    spread = dict(zip(parts, largest_remainder(rest, list(parts.values())), strict=True))
    of_tenants = {tenant: nano + spread.get(tenant, 0) for tenant, nano in busy.items()}
    return {**of_tenants, NOBODY: spread.get(NOBODY, 0) + platform_nano}


def leave(bill_nano: int, months: Sequence[TenantMonth], idle: IdleRule, tenant: str, platform_nano: int = 0) -> Left:
    """What follows if a tenant leaves. Raises `NotFound` for one that used nothing."""
    stay = [one for one in months if one.tenant != tenant]
    if len(stay) == len(months):
        raise NotFound(f"tenant {tenant[:80]!r} used nothing that could be looked at", param="tenant")
    before, after = (loaded(bill_nano, of, idle, platform_nano) for of in (months, stay))
    more = {name: after[name] - before[name] for name in after}
    saved = sum((one.baseline_nano for one in stay), Fraction(0)) - bill_nano
    return Left(tenant, more, round(saved))


def shapley(bill_nano: int, baseline_nano: Mapping[str, Fraction]) -> dict[str, Fraction]:
    """Tenant → its fair share of what all of them pay, if they do what costs all of them less."""
    names = sorted(baseline_nano)
    if len(names) > MOST_EXACT:
        return _shapley_drawn(bill_nano, baseline_nano, names)
    fair = dict.fromkeys(names, Fraction(0))
    for name in names:
        others = [other for other in names if other != name]
        for size in range(len(others) + 1):
            weight = Fraction(1, len(names) * comb(len(others), size))
            for group in combinations(others, size):
                there = sum((baseline_nano[one] for one in group), Fraction(0))
                fair[name] += weight * _added(bill_nano, there, baseline_nano[name])
    return fair


def orders_for(tenants: int) -> int | None:
    """How many orders are drawn for so many tenants, two at least; `None`: none, as the shares are exact."""
    return None if tenants <= MOST_EXACT else 2 * max(1, min(MOST_ORDERS, MOST_STEPS // tenants) // 2)


def _shapley_drawn(bill_nano: int, baseline_nano: Mapping[str, Fraction], names: Sequence[str]) -> dict[str, Fraction]:
    """In whole nano-dollars until the mean is taken."""
    own = {name: round(baseline_nano[name]) for name in names}
    orders, added = orders_for(len(names)) or 0, dict.fromkeys(names, 0)
    chance = random.Random(0)
    for _ in range(orders // 2):
        order = chance.sample(names, len(names))
        for one in (order, reversed(order)):
            left = bill_nano
            for name in one:
                if not left:
                    break
                part = min(own[name], left)
                added[name] += part
                left -= part
    alike: dict[int, list[str]] = {}
    for name in names:
        alike.setdefault(own[name], []).append(name)
    return {name: Fraction(sum(added[one] for one in of), orders * len(of)) for of in alike.values() for name in of}


def _added(bill_nano: int, there: Fraction, own: Fraction) -> Fraction:
    return min(Fraction(bill_nano), there + own) - min(Fraction(bill_nano), there)
