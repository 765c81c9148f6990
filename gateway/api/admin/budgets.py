"""`GET /admin/v1/budgets`: what is left of each budget, by the ledger, and what this worker counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from gateway.api.admin.office import Office, one_page
from gateway.api.admin.shapes import After, Limit, Next, Shape
from gateway.limits.caps import Budget
from gateway.limits.counters import Counter
from registry.days import as_datetime
from registry.limits.spending import Parts, Spent
from registry.money import nano_to_dollars
from registry.service import Registry

OfScopes = Annotated[
    str | None,
    Query(max_length=4_000, description="tenant:NAME, key:ID or adapter:tenant/adapter; several with commas between."),
]
Amount = str
"""A decimal number in the budget's unit."""


class CountedHere(Shape):
    """The worker that answers; each has counters of its own."""

    worker: str = Field(description="Its name in the usage journal.")
    spent: Amount = Field(description="What this worker counts as spent through it.")
    spent_in_ledger: Amount = Field(description="What the ledger says of the same; a second or two behind.")
    held: Amount = Field(description="For requests that run: the most that they can still use.")
    allowed: Amount = Field(description="The most that it may use without asking who lends to all workers.")


class BudgetDocument(Shape):
    """One budget and its running window."""

    scope: str = Field(description="What has it: a tenant, key or adapter.", examples=["tenant:acme"])
    window: Literal["daily", "monthly"] = Field(description="A day or a month of UTC.")
    unit: Literal["dollars", "tokens"] = Field(description="Of all amounts, which are decimal numbers in text.")
    starts_at: datetime = Field(description="Begin of the window.")
    ends_at: datetime = Field(description="Its end, when the budget begins anew.")
    budget: Amount = Field(description="The most of the window.", examples=["50"])
    spent: Amount = Field(description="By all gateways, as the ledger says; a second or two behind.")
    percent: int | None = Field(description="Of the budget that is spent, rounded down; null: the budget is 0.")
    refused: int = Field(description="Requests that it has refused in its window, by all gateways.")
    here: CountedHere = Field(description="What the worker that answers counts.")


class BudgetsDocument(Shape):
    """A page of budgets, by scope."""

    budgets: list[BudgetDocument] = Field(description="Up to four of each scope.")
    next: Next


def add_budgets(router: APIRouter, office: Office) -> None:
    """The route. It blocks, so it is a plain function: Starlette runs it in its thread pool."""
    limits, journal, registry = office.house.limits, office.house.journal, office.registry

    @router.get("/budgets")
    def list_budgets(scope: OfScopes = None, after: After = None, limit: Limit = 200) -> BudgetsDocument:
        """Every budget of every limited scope, or of those that are named."""
        counters = sorted((one for one in limits.counters() if one.budgets), key=lambda one: one.scope)
        if scope is not None:
            wanted = set(scope.split(","))
            counters = [one for one in counters if one.scope in wanted]
        rest = [one for one in counters if after is None or one.scope > after]
        page, following = one_page(rest, limit, attrgetter("scope"))
        return BudgetsDocument(budgets=budgets_of(page, registry, journal.writer), next=following)


def budgets_of(counters: Iterable[Counter], registry: Registry, writer: str) -> list[BudgetDocument]:
    """What is left of each budget of these; reads the database once a window."""
    books: dict[tuple[int, int], _Said] = {}
    found: list[BudgetDocument] = []
    for counter in counters:
        for window in (counter.day, counter.month):
            bounds = (window.starts_ms, window.ends_ms)
            if bounds not in books:
                books[bounds] = _Said(registry.spending.window(*bounds), registry.refusals.by_limit(*bounds))
        found += _documents(counter, writer, books)
    return found


@dataclass(frozen=True, slots=True)
class _Said:
    """What the database says of one window: spent, and refused by each limit of each scope."""

    spent: Parts
    refused: Mapping[tuple[str, str], int]


def _documents(counter: Counter, writer: str, books: Mapping[tuple[int, int], _Said]) -> Iterator[BudgetDocument]:
    for budget in counter.budgets:
        window = budget.window
        said = books[window.starts_ms, window.ends_ms]
        parts = said.spent.get(counter.scope, {})
        spent = _amount(budget, sum(parts.values(), Spent()))
        yield BudgetDocument(
            scope=counter.scope,
            window=window.name,
            unit=budget.unit,
            starts_at=as_datetime(window.starts_ms),
            ends_at=as_datetime(window.ends_ms),
            budget=_text(budget, budget.limit),
            spent=_text(budget, spent),
            percent=spent * 100 // budget.limit if budget.limit else None,
            refused=said.refused.get((counter.scope, f"{window.name}_{budget.unit}"), 0),
            here=CountedHere(
                worker=writer,
                spent=_text(budget, budget.spent()),
                spent_in_ledger=_text(budget, _amount(budget, parts.get(writer, Spent()))),
                held=_text(budget, budget.used() - budget.spent()),
                allowed=_text(budget, budget.allowed),
            ),
        )


def _amount(budget: Budget, spent: Spent) -> int:
    return spent.nano if budget.in_dollars else spent.tokens


def _text(budget: Budget, amount: int) -> Amount:
    return nano_to_dollars(amount) if budget.in_dollars else str(amount)
