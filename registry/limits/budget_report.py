"""What is spent of every budget, by the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from registry.days import day_of, month_of
from registry.db import now_ms
from registry.ledger.refusals import RefusalBooks
from registry.limits.spending import SpendingBooks, Spent
from registry.limits.store import Limits
from registry.money import nano_to_dollars

Window = Literal["daily", "monthly"]
Unit = Literal["dollars", "tokens"]
_BUDGETS: tuple[tuple[Window, Unit, str], ...] = (
    ("daily", "dollars", "daily_nano"),
    ("daily", "tokens", "daily_tokens"),
    ("monthly", "dollars", "monthly_nano"),
    ("monthly", "tokens", "monthly_tokens"),
)


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """One budget in its running window; dollars are in nano-dollars."""

    scope: str
    window: Window
    unit: Unit
    budget: int
    spent: int
    percent: int | None
    """Of the budget that is spent, rounded down; `None`: the budget is 0."""
    ends_at_ms: int
    refused: int
    """Requests that it has refused in its window."""

    def formatted(self, amount: int) -> str:
        """An amount as people write it."""
        return nano_to_dollars(amount) if self.unit == "dollars" else str(amount)


def report_budgets(limits: Limits, spending: SpendingBooks, refusals: RefusalBooks) -> list[BudgetLine]:
    """By scope; of all gateways, a second or two behind."""
    at_ms = now_ms()
    bounds = {"daily": day_of(at_ms), "monthly": month_of(at_ms)}
    budgets = [
        (info, window, unit, budget)
        for info in limits.all()
        for window, unit, field in _BUDGETS
        if (budget := getattr(info, field)) is not None
    ]
    windows = {window for _, window, _, _ in budgets}  # a month is much to read
    books = {window: spending.between(*bounds[window]) for window in windows}
    refused = {window: refusals.by_limit(*bounds[window]) for window in windows}
    lines = []
    for info, window, unit, budget in budgets:
        spent = books[window].get(info.scope, Spent())
        used = spent.nano if unit == "dollars" else spent.tokens
        percent = used * 100 // budget if budget else None
        times = refused[window].get((info.scope, f"{window}_{unit}"), 0)
        lines.append(BudgetLine(info.scope, window, unit, budget, used, percent, bounds[window][1], times))
    return lines
