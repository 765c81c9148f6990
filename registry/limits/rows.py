"""Limits, and the warnings of budgets."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from registry.tables import Base


class Limit(Base):
    """What a scope may use; NULL is no limit. Minutes roll, days and months are those of UTC."""

    __tablename__ = "limits"
    scope: Mapped[str] = mapped_column(String(200), primary_key=True)
    """`tenant:NAME`, `key:ID` or `adapter:tenant/adapter`."""
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    concurrency: Mapped[int | None]
    daily_nano: Mapped[int | None]
    monthly_nano: Mapped[int | None]
    daily_tokens: Mapped[int | None]
    monthly_tokens: Mapped[int | None]
    warn_percent: Mapped[int | None]
    """1 to 100: the part of each budget at whose spending the operator and clients are warned."""
    changed_at_ms: Mapped[int]


class BudgetWarning(Base):
    """A budget of which a part that was to be told of is spent; once for each window, budget and percentage."""

    __tablename__ = "budget_warnings"
    scope: Mapped[str] = mapped_column(String(200), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    """`daily_nano`, `monthly_nano`, `daily_tokens` or `monthly_tokens`: which budget, and the unit of the figures."""
    starts_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    budget: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    warn_percent: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ends_ms: Mapped[int]
    spent: Mapped[int]
    noted_at_ms: Mapped[int]
