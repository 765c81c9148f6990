"""Warnings of budgets: each is noted once, however many processes see it, and delivered by whoever takes it up.

A delivery is taken up by moving `due_at_ms` on, which succeeds for one process only. If that one dies before it has
said how it went, the warning is due again: so it is delivered at least once, and twice only when a process dies
between the delivery and the note of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Table, and_, select, update

from registry.days import DAY_MS
from registry.db import Database, now_ms
from registry.limits.rows import BudgetWarning
from registry.upsert import upsert

BudgetKind = Literal["daily_nano", "monthly_nano", "daily_tokens", "monthly_tokens"]
"""Which budget of a scope, and the unit of its figures; as the fields of its limits are called."""
TABLE = cast("Table", BudgetWarning.__table__)
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
    """A crossing, what was spent when it was noted, and how often its delivery was begun."""

    crossing: Crossing
    ends_ms: int
    spent: int
    noted_at_ms: int
    attempts: int = 0
    delivered_at_ms: int | None = None

    @property
    def percent(self) -> int:
        """Of the budget, that was spent; whole ones."""
        return self.spent * 100 // self.crossing.budget


class BudgetWarningBooks:
    """Every warning of an installation."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def note(self, notices: Iterable[Notice]) -> list[Notice]:
        """Store those that nobody has noted yet, due for delivery at once; return them."""
        with self._db.write() as session:
            return [one for one in notices if upsert(session, BudgetWarning, [_row(one)])]

    def take_up(self, most: int, lease_ms: int) -> list[Notice]:
        """At most so many whose delivery is due; they are the caller's, and nobody else's, for the lease."""
        row, at_ms = BudgetWarning, now_ms()
        due = (
            select(row)
            .where(row.delivered_at_ms.is_(None), row.due_at_ms <= at_ms, row.ends_ms > at_ms - KEPT_MS)
            .order_by(row.due_at_ms)
            .limit(most)
        )
        with self._db.read() as session:
            found = [(_notice(one), one.due_at_ms) for one in session.scalars(due)]
        if not found:
            return []
        taken = []
        with self._db.write() as session:
            for notice, due_at_ms in found:
                mine = update(TABLE).where(
                    _is(notice.crossing), row.delivered_at_ms.is_(None), row.due_at_ms == due_at_ms
                )
                moved_on = mine.values(due_at_ms=at_ms + lease_ms, attempts=row.attempts + 1)
                if session.connection().execute(moved_on).rowcount:
                    taken.append(replace(notice, attempts=notice.attempts + 1))
        return taken

    def settle(self, delivered: Collection[Crossing], put_off: Mapping[Crossing, int]) -> None:
        """How deliveries went: those that somebody has, and those that are due again after so many milliseconds."""
        at_ms = now_ms()
        with self._db.write() as session:
            for crossing in delivered:
                session.execute(update(TABLE).where(_is(crossing)).values(delivered_at_ms=at_ms))
            for crossing, wait_ms in put_off.items():
                session.execute(update(TABLE).where(_is(crossing)).values(due_at_ms=at_ms + wait_ms))

    def current(self, scopes: Collection[str]) -> list[Notice]:
        """Those of these scopes in windows that have not ended, the first noted first."""
        row = BudgetWarning
        query = select(row).where(row.scope.in_(scopes), row.ends_ms > now_ms()).order_by(row.noted_at_ms)
        with self._db.read() as session:
            return [_notice(one) for one in session.scalars(query)]


def _row(notice: Notice) -> dict[str, Any]:
    row = asdict(notice)
    return {**row.pop("crossing"), **row, "due_at_ms": notice.noted_at_ms}


def _is(crossing: Crossing) -> ColumnElement[bool]:
    return and_(*(getattr(BudgetWarning, name) == value for name, value in asdict(crossing).items()))


def _notice(row: BudgetWarning) -> Notice:
    crossing = Crossing(row.scope, cast("BudgetKind", row.kind), row.starts_ms, row.budget, row.warn_percent)
    return Notice(crossing, row.ends_ms, row.spent, row.noted_at_ms, row.attempts, row.delivered_at_ms)
