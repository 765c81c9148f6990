"""What one scope has spent, UTC day by day: how a budget burns down."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, case, func, or_, select
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter
from registry.db import Database
from registry.ledger.rows import USAGE_DAYS
from registry.ledger.usage_days import BILLED
from registry.limits.scopes import ADAPTER, KEY, TENANT, require_scope
from registry.limits.spending import Spent

_DAYS = USAGE_DAYS.c


@dataclass(frozen=True, slots=True)
class SpendingDay:
    """A UTC day, by its number, on which something was spent."""

    day: int
    spent: Spent


def spending_days(db: Database, scope: str, first_day: int, end_day: int) -> list[SpendingDay]:
    """Of `tenant:…`, `key:…` or `adapter:…`, the days in `[first_day, end_day)`, oldest first; corrections are in them.
    Raises `InvalidInput` for no such scope, and `NotFound`.
    """
    billed = _DAYS.outcome.in_(BILLED)
    figures = (_DAYS.cost_nano, _DAYS.prompt_tokens + _DAYS.completion_tokens, _DAYS.unpriced)
    sums = (func.sum(case((billed, figure), else_=0)) for figure in figures)
    with db.read() as session:
        require_scope(session, scope, (TENANT, KEY, ADAPTER))
        query = (
            select(_DAYS.day, *sums)
            .where(_DAYS.day >= first_day, _DAYS.day < end_day, _DAYS.shadow.is_(False), _of(session, scope))
            .group_by(_DAYS.day)
            .order_by(_DAYS.day)
        )
        return [SpendingDay(day, Spent(*map(int, amounts))) for day, *amounts in session.execute(query)]


def _of(session: Session, scope: str) -> ColumnElement[bool]:
    kind, _, name = scope.partition(":")
    if kind == TENANT:
        return _DAYS.tenant == name
    if kind == KEY:
        return _DAYS.key_id == name
    tenant, _, adapter = name.partition("/")
    id_ = session.scalars(select(Adapter.id).where(Adapter.tenant == tenant, Adapter.name == adapter)).one()
    by_name = _DAYS.served_model.startswith(f"{name}@", autoescape=True)  # rows from before they had ids
    return or_(_DAYS.adapter_id == id_, (_DAYS.adapter_id == 0) & by_name)
