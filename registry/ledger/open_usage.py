"""Usage that is not closed: attempts that nobody is charged for as they had no price, or whose tokens nobody knows,
though their client had not left.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import case, func, select

from registry.db import Database
from registry.ledger.rows import USAGE_DAYS
from registry.ledger.usage_days import LEFT


@dataclass(frozen=True, slots=True)
class OpenUsage:
    """Attempts of one tenant on one model."""

    tenant: str
    model: str
    """Public name of what answered."""
    unpriced: int
    unmetered: int


def open_usage(db: Database, since_day: int) -> list[OpenUsage]:
    """By tenant and model, of the UTC days from that one on, by their sums; none where both are 0."""
    days = USAGE_DAYS.c
    sums = (func.sum(days.unpriced), func.sum(case((days.outcome.in_(LEFT), 0), else_=days.unmetered)))
    query = (
        select(days.tenant, days.served_model, *sums)
        .where(days.day >= since_day, (days.unpriced != 0) | (days.unmetered != 0))
        .group_by(days.tenant, days.served_model)
        .order_by(days.tenant, days.served_model)
    )
    with db.read() as session:
        rows = [
            OpenUsage(tenant, model, int(unpriced), int(unmetered))
            for tenant, model, unpriced, unmetered in session.execute(query)
        ]
    return [row for row in rows if row.unpriced > 0 or row.unmetered > 0]
