"""What engines have cost for each tenant by day, from bills of days that are over: what its month's end is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.cost.allocation import PAID_BY_TENANTS
from gateway.cost.costing import allocation_of
from gateway.cost.month_end import Calendar
from registry.days import DAY_MS
from registry.engine_costs.log import NOTHING
from registry.service import Registry

LEAST_LOOKED_AT = 28
"""Days before today that are allocated at least; a whole month at most. To allocate is dear: it needs all tenants."""


@dataclass(frozen=True, slots=True)
class EnginesAhead:
    """Of all tenants that engines cost something for, loaded: busy time, and idle time as the policy has it."""

    days: Mapping[str, Sequence[int]]
    """Tenant → nano-dollars by day, from `calendar.history` to today, which is 0: of whole days alone."""
    uncosted_attempts: int
    """Of the days that were looked at, on engines without a cost: they are in no figure."""


def engines_ahead(registry: Registry, calendar: Calendar) -> EnginesAhead:
    """The month's days and those before it are allocated apart, so that what is booked is what a bill of the month's
    days says. Empty while no engine has a cost.
    """
    if registry.engine_costs.log().version == NOTHING:
        return EnginesAhead({}, 0)
    looked_at = min(calendar.first, calendar.today - LEAST_LOOKED_AT)
    days: dict[str, list[int]] = {}
    uncosted = 0
    for first, end in ((looked_at, calendar.first), (calendar.first, calendar.today)):
        if first == end:
            continue
        allocation = allocation_of(registry, first * DAY_MS, end * DAY_MS)
        uncosted += allocation.uncosted_attempts
        for line in allocation.lines:
            if line.kind in PAID_BY_TENANTS and line.loaded_nano:
                of = days.setdefault(line.tenant, [0] * (calendar.today - calendar.history + 1))
                of[line.day - calendar.history] += line.loaded_nano
    return EnginesAhead(days, uncosted)
