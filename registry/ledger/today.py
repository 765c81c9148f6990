"""Attempts of which something is missing: a price, or a count of tokens."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, case, func, select

from registry.db import Database
from registry.ledger.usage_days import BILLED, LEFT, usage_between
from registry.names import SYSTEM


@dataclass(frozen=True, slots=True)
class UsageFaults:
    """Of the attempts of a window."""

    unpriced: int
    """Answered, and without a tariff in force; our own probes and copies need none."""
    unsettled: int
    """Those that an engine worked on and of which nobody knows the tokens, but those that their client left."""


def faults_between(db: Database, since_ms: int, until_ms: int) -> UsageFaults:
    """Of attempts that began in `[since_ms, until_ms)`. Raises `ArchiveUnreadable`."""
    with db.read() as session:
        used = usage_between(session, since_ms, until_ms).c
        paid = and_(used.outcome.in_(BILLED), used.tenant != SYSTEM, used.shadow.is_(False))
        unsettled = case((used.outcome.in_(LEFT), 0), else_=used.unmetered)
        query = select(func.sum(case((paid, used.unpriced), else_=0)), func.sum(unsettled))
        return UsageFaults(*(int(figure or 0) for figure in session.execute(query).one()))
