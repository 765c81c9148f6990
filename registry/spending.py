"""What scopes have spent, summed from the ledger: budgets begin from it, and counters are held against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import case, func, select

from registry.db import Database
from registry.models import UsageCorrection, UsageRow, UsageSegment

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


Parts = Mapping[str, Mapping[str, Spent]]
"""By scope (`tenant:…`, `key:…`, `adapter:…`), and by who has booked it."""
CORRECTIONS = "corrections"
"""The writer of what was corrected afterwards: its sums may be negative."""


@dataclass(frozen=True, slots=True)
class Books:
    """What billed attempts of one window came to. `before` are those of the asking process that began before it
    counted, by scope; `others` are those of all others, and corrections.
    """

    before: Mapping[str, Spent]
    others: Parts


class SpendingBooks:
    """Sums of usage rows by scope."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def between(self, since_ms: int, until_ms: int) -> Mapping[str, Spent]:
        """By scope: billed attempts that began in `[since_ms, until_ms)`, corrections included."""
        everybody = self.window(since_ms, until_ms, "", 0).others
        return {scope: sum(parts.values(), Spent()) for scope, parts in everybody.items()}

    def ended(self) -> frozenset[str]:
        """Writers of journals that have ended, and of which the ledger has all."""
        with self._db.read() as session:
            return frozenset(session.scalars(select(UsageSegment.writer).where(UsageSegment.last)))

    def window(self, since_ms: int, until_ms: int, writer: str, counts_since_ms: int) -> Books:
        """The same by the writer of the journal that it came from. Of the journal of `writer` only what began before
        `counts_since_ms`: the rest it has counted itself. Who has only attempts that nobody pays for is there with 0:
        it may have been lent something.
        """
        row, correction = UsageRow, UsageCorrection
        in_window = (row.started_at_ms >= since_ms, row.started_at_ms < until_ms)
        billed = row.outcome.in_(BILLED)
        whose = (row.tenant, row.key_id, row.served_model)
        booked = (
            select(
                *whose,
                row.segment,
                func.sum(case((billed, func.coalesce(row.cost_nano, 0)), else_=0)),
                func.sum(
                    case(
                        (billed, func.coalesce(row.prompt_tokens, 0) + func.coalesce(row.completion_tokens, 0)), else_=0
                    )
                ),
                func.sum(case((billed & row.cost_nano.is_(None), 1), else_=0)),
            )
            .where(*in_window)
            .group_by(*whose, row.segment)
        )
        ours = row.segment.startswith(_front(writer), autoescape=True)
        corrected = (
            select(
                *whose,
                func.sum(correction.cost_nano),
                func.sum(correction.prompt_tokens) + func.sum(correction.completion_tokens),
            )
            .join(row, row.attempt_id == correction.attempt_id)
            .where(*in_window, billed)
            .group_by(*whose)
        )
        before: dict[str, Spent] = {}
        others: dict[str, dict[str, Spent]] = {}
        with self._db.read() as session:
            if writer:
                for *one, _, nano, tokens, unpriced in session.execute(
                    booked.where(ours, row.started_at_ms < counts_since_ms)
                ):
                    for scope in _scopes(*one):
                        before[scope] = before.get(scope, Spent()) + Spent(nano or 0, tokens or 0, unpriced)
                booked = booked.where(row.segment.is_(None) | ~ours)
            for *one, segment, nano, tokens, unpriced in session.execute(booked):
                for scope in _scopes(*one):
                    _add(others, scope, _writer(segment), Spent(nano or 0, tokens or 0, unpriced))
            for *one, nano, tokens in session.execute(corrected):
                for scope in _scopes(*one):
                    _add(others, scope, CORRECTIONS, Spent(nano, tokens))
        return Books(before, others)


def _scopes(tenant: str, key_id: str, model: str) -> tuple[str, ...]:
    adapter, is_version, _ = model.partition("@")
    return (f"tenant:{tenant}", f"key:{key_id}", *((f"adapter:{adapter}",) if is_version else ()))


def _add(others: dict[str, dict[str, Spent]], scope: str, writer: str, spent: Spent) -> None:
    parts = others.setdefault(scope, {})
    parts[writer] = parts.get(writer, Spent()) + spent


def _front(writer: str) -> str:
    """What the names of a writer's segments begin with."""
    return f"usage-{writer}-"


def _writer(segment: str | None) -> str:
    """Of a segment `usage-WRITER-NUMBER`; empty for what came by no journal."""
    return "" if segment is None else segment.removeprefix("usage-").rpartition("-")[0]
