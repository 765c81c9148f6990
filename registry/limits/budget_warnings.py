"""Warnings of budgets: each is noted once, however many processes see it, and the operator's webhook is told of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from sqlalchemy import select

from registry.days import DAY_MS, as_datetime
from registry.db import Database, now_ms
from registry.limits.rows import BudgetWarning
from registry.money import nano_to_dollars
from registry.upsert import upsert
from registry.webhooks.outbox import add_operators_event

BudgetKind = Literal["daily_nano", "monthly_nano", "daily_tokens", "monthly_tokens"]
"""Which budget of a scope, and the unit of its figures; as the fields of its limits are called."""
EVENT_TYPE = "budget.warning"
KEPT_MS = DAY_MS
"""How long after the end of its window a warning that could not be delivered is worth another try."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A budget of which `warn_percent` are spent, in one window.

    All of it is its name: who is warned and raises the budget is warned of the greater one too.
    """

    scope: str
    kind: BudgetKind
    starts_ms: int
    budget: int
    warn_percent: int


@dataclass(frozen=True, slots=True)
class Notice:
    """A crossing, and what was spent when it was noted."""

    crossing: Crossing
    ends_ms: int
    spent: int
    noted_at_ms: int

    @property
    def percent(self) -> int:
        """Of the budget, that was spent; whole ones."""
        return self.spent * 100 // self.crossing.budget


class BudgetWarningBooks:
    """Every warning of an installation."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def note(self, notices: Iterable[Notice], *, tells: bool) -> list[Notice]:
        """Store those that nobody has noted yet, and return them; with `tells`, the operator's webhook gets them."""
        with self._db.write() as session:
            new = [one for one in notices if upsert(session, BudgetWarning, [_row(one)])]
            for notice in new if tells else ():
                add_operators_event(session, EVENT_TYPE, told(notice), notice.ends_ms + KEPT_MS)
            return new

    def current(self, scopes: Collection[str]) -> list[Notice]:
        """Those of these scopes in windows that have not ended, the first noted first."""
        row = BudgetWarning
        query = select(row).where(row.scope.in_(scopes), row.ends_ms > now_ms()).order_by(row.noted_at_ms)
        with self._db.read() as session:
            return [_notice(one) for one in session.scalars(query)]


def told(notice: Notice) -> dict[str, Any]:
    """What the webhook is sent. Amounts are decimal numbers in text, of dollars or of tokens."""
    crossing = notice.crossing
    window, _, unit = crossing.kind.partition("_")
    written = nano_to_dollars if unit == "nano" else str
    return {
        "scope": crossing.scope,
        "window": window,
        "window_starts_at": _iso(crossing.starts_ms),
        "window_ends_at": _iso(notice.ends_ms),
        "unit": "dollars" if unit == "nano" else unit,
        "budget": written(crossing.budget),
        "spent": written(notice.spent),
        "percent": notice.percent,
        "warn_percent": crossing.warn_percent,
        "noted_at": _iso(notice.noted_at_ms),
    }


def _iso(ms: int) -> str:
    return as_datetime(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _row(notice: Notice) -> dict[str, Any]:
    row = asdict(notice)
    return {**row.pop("crossing"), **row}


def _notice(row: BudgetWarning) -> Notice:
    crossing = Crossing(row.scope, cast("BudgetKind", row.kind), row.starts_ms, row.budget, row.warn_percent)
    return Notice(crossing, row.ends_ms, row.spent, row.noted_at_ms)
