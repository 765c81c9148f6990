"""What was asked of one adapter lately, by sums by day: attempts, and requests that were refused before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, or_, select

from registry.adapters.rows import Adapter
from registry.db import Database
from registry.ledger.rows import USAGE_DAYS, RefusalDay


@dataclass(frozen=True, slots=True)
class AdapterTraffic:
    """Of the UTC days from one on."""

    attempts: int
    last_ms: int | None
    """When the newest attempt ended; `None`: there was none."""
    refused: Mapping[str, int]
    """Requests that never became attempts, by the limit or the error's code."""


def adapter_traffic(db: Database, tenant: str, adapter: str, since_day: int) -> AdapterTraffic:
    """Of all versions and aliases, by whatever name they were asked for."""
    days, refusal, name = USAGE_DAYS.c, RefusalDay, f"{tenant}/{adapter}"
    with db.read() as session:
        adapter_id = session.scalar(select(Adapter.id).where(Adapter.tenant == tenant, Adapter.name == adapter))
        sums = select(func.coalesce(func.sum(days.attempts), 0), func.max(days.last_ms))
        attempts, last_ms = session.execute(
            sums.where(days.day >= since_day, days.tenant == tenant, days.adapter_id == adapter_id)
        ).one()
        about = or_(refusal.model == name, refusal.model.startswith(f"{name}@", autoescape=True))
        refused = session.execute(
            select(refusal.reason, func.sum(refusal.refused))
            .where(refusal.day >= since_day, refusal.tenant == tenant, about)
            .group_by(refusal.reason)
        ).all()
    return AdapterTraffic(int(attempts), last_ms, {reason: int(count) for reason, count in refused})
