"""What tenants used on each UTC day, by key and model: what forecasts and alarms are made of. Whole days alone."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from registry.db import Database
from registry.ledger.rows import USAGE_DAYS
from registry.ledger.usage_days import BILLED
from registry.names import SYSTEM


@dataclass(frozen=True, slots=True)
class DailyUsage:
    """Requests that were answered, corrections included; without copies and our own probes."""

    day: int
    """UTC days since the epoch."""
    tenant: str
    key_id: str
    model: str
    """The public name of the version or base that answered."""
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    tariff_nano: int
    unpriced: int
    """Of the requests, those for which no tariff was in force."""


def daily_usage(db: Database, first: int, end: int, tenant: str | None = None) -> list[DailyUsage]:
    """Days `[first, end)` of one tenant or of all, by day, tenant, key and model."""
    used = USAGE_DAYS.c
    groups = (used.day, used.tenant, used.key_id, used.served_model)
    names = ("attempts", "prompt_tokens", "cached_tokens", "completion_tokens", "cost_nano", "unpriced")
    query = select(*groups, *(func.sum(used[name]) for name in names)).group_by(*groups).order_by(*groups)
    query = query.where(used.day >= first, used.day < end, used.outcome.in_(BILLED))
    query = query.where(used.tenant != SYSTEM, used.shadow.is_(False))
    if tenant is not None:
        query = query.where(used.tenant == tenant)
    with db.read() as session:
        return [DailyUsage(*row[:4], *map(int, row[4:])) for row in session.execute(query)]
