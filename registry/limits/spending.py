"""What scopes have spent, summed from the ledger: budgets begin from it, and counters are held against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from registry.db import Database
from registry.ledger.models import ADAPTER_NAME, adapter_of, with_adapter
from registry.ledger.rows import UsageSegment
from registry.ledger.usage_days import BILLED, usage_between


@dataclass(frozen=True, slots=True)
class Spent:
    """Nano-dollars at the tariff, and tokens of prompts and answers; `unpriced` attempts are in the tokens only."""

    nano: int = 0
    tokens: int = 0
    unpriced: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.nano + other.nano, self.tokens + other.tokens, self.unpriced + other.unpriced)


Parts = Mapping[str, Mapping[str, Spent]]
"""By scope (`tenant:…`, `key:…`, `adapter:…`), and by who has booked it."""


class SpendingBooks:
    """Sums of usage rows by scope."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def between(self, since_ms: int, until_ms: int) -> Mapping[str, Spent]:
        """By scope: billed attempts that began in `[since_ms, until_ms)`, corrections included."""
        parts = self.window(since_ms, until_ms)
        return {scope: sum(of_scope.values(), Spent()) for scope, of_scope in parts.items()}

    def ended(self) -> frozenset[str]:
        """Writers of journals that have ended, and of which the ledger has all."""
        with self._db.read() as session:
            return frozenset(session.scalars(select(UsageSegment.writer).where(UsageSegment.last)))

    def window(self, since_ms: int, until_ms: int, but: str = "") -> Parts:
        """The same by the writer of the journal that it came from, without the writer `but`. Who has only attempts that
        nobody pays for is there with 0: it may have been lent something.
        """
        parts: dict[str, dict[str, Spent]] = {}
        with self._db.read() as session:
            for scope, booked_by, spent in _spent(session, since_ms, until_ms):
                if booked_by != but or not but:
                    of_scope = parts.setdefault(scope, {})
                    of_scope[booked_by] = of_scope.get(booked_by, Spent()) + spent
        return parts


def _spent(session: Session, since_ms: int, until_ms: int) -> Iterator[tuple[str, str, Spent]]:
    """Scope, writer, and what was spent; a scope and a writer may come more than once."""
    between = usage_between(session, since_ms, until_ms)
    used = between.c
    billed = used.outcome.in_(BILLED)
    figures = (used.cost_nano, used.prompt_tokens + used.completion_tokens, used.unpriced)
    groups = (used.tenant, used.key_id, ADAPTER_NAME, used.served_model, used.writer)
    sums = (func.sum(case((billed, figure), else_=0)) for figure in figures)
    query = select(*groups, *sums).select_from(with_adapter(between)).where(used.shadow.is_(False)).group_by(*groups)
    for tenant, key_id, named, model, writer, *amounts in session.execute(query):
        spent = Spent(*map(int, amounts))
        yield f"tenant:{tenant}", writer, spent
        yield f"key:{key_id}", writer, spent
        if adapter := adapter_of(named, model):
            yield f"adapter:{adapter}", writer, spent
