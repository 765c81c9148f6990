"""What tenants used on each UTC day, by key and model: what forecasts and alarms are made of. Whole days alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, Select, func, literal, select

from registry.db import Database
from registry.ledger.rows import USAGE_DAYS
from registry.ledger.usage_days import BILLED
from registry.names import SYSTEM

USED = USAGE_DAYS.c
SUMS = ("attempts", "prompt_tokens", "cached_tokens", "completion_tokens", "cost_nano", "unpriced")
_BILLED = (USED.outcome.in_(BILLED), USED.tenant != SYSTEM, USED.shadow.is_(False))


class DailyUsage(NamedTuple):
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
    query = _query(first, end, (USED.key_id, USED.served_model))
    return _found(db, query if tenant is None else query.where(USED.tenant == tenant))


def daily_sums(
    db: Database, first: int, end: int, tenant: str | None = None, *, between: tuple[str, str] | None = None
) -> list[DailyUsage]:
    """The same by day and tenant alone; key and model are empty. `between`: of tenants from the one name to the
    other.
    """
    low, high = between or (tenant, tenant)
    query = _query(first, end, (literal(""), literal("")))
    return _found(db, query if low is None else query.where(USED.tenant >= low, USED.tenant <= high))


def tenants_on(db: Database, day: int, after: str, most: int) -> list[str]:
    """The first tenants by name, after one, that used anything on a day."""
    query = select(USED.tenant).distinct().where(USED.day == day, USED.tenant > after, *_BILLED)
    with db.read() as session:
        return list(session.scalars(query.order_by(USED.tenant).limit(most)))


def _query(first: int, end: int, slices: Sequence[ColumnElement[str]]) -> Select[Any]:
    groups = (USED.day, USED.tenant, *(one for one in slices if not isinstance(one, BindParameter)))
    query = select(USED.day, USED.tenant, *slices, *(func.sum(USED[name]) for name in SUMS))
    return query.where(USED.day >= first, USED.day < end, *_BILLED).group_by(*groups).order_by(*groups)


def _found(db: Database, query: Select[Any]) -> list[DailyUsage]:
    with db.read() as session:
        return [DailyUsage(*row[:4], *map(int, row[4:])) for row in session.execute(query).all()]
