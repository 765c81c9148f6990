"""What scopes have spent, summed from the ledger: budgets begin from it, and counters are held against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select

from registry.db import Database
from registry.models import UsageRow

BILLED = ("ok", "client_aborted")
"""Outcomes that a tenant pays for. What failed on our side is free, whatever the engine has counted."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Nano-dollars at the tariff, and tokens of prompts and answers; `unpriced` attempts are in the tokens only."""

    nano: int = 0
    tokens: int = 0
    unpriced: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.nano + other.nano, self.tokens + other.tokens, self.unpriced + other.unpriced)


class SpendingBooks:
    """Sums of usage rows by scope."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def between(self, since_ms: int, until_ms: int) -> Mapping[str, Spent]:
        """By scope (`tenant:…`, `key:…`, `adapter:…`): billed attempts that began in `[since_ms, until_ms)`."""
        row = UsageRow
        query = (
            select(
                row.tenant,
                row.key_id,
                row.served_model,
                func.coalesce(func.sum(row.cost_nano), 0),
                func.coalesce(func.sum(row.prompt_tokens), 0) + func.coalesce(func.sum(row.completion_tokens), 0),
                func.count() - func.count(row.cost_nano),
            )
            .where(row.started_at_ms >= since_ms, row.started_at_ms < until_ms, row.outcome.in_(BILLED))
            .group_by(row.tenant, row.key_id, row.served_model)
        )
        sums: dict[str, Spent] = {}
        with self._db.read() as session:
            for tenant, key_id, model, nano, tokens, unpriced in session.execute(query):
                adapter, is_version, _ = model.partition("@")
                scopes = (f"tenant:{tenant}", f"key:{key_id}", *((f"adapter:{adapter}",) if is_version else ()))
                for scope in scopes:
                    sums[scope] = sums.get(scope, Spent()) + Spent(nano or 0, tokens or 0, unpriced)
        return sums
