"""`GET /admin/v1/spending`: what a scope has spent, day by day."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from gateway.api.admin.office import Office
from gateway.api.admin.shapes import Shape
from registry.days import date_of, day_number, day_of, month_of, window_ms
from registry.db import now_ms
from registry.limits.spending_days import spending_days
from registry.money import nano_to_dollars

MOST_DAYS = 400


class SpendingDayDocument(Shape):
    """A UTC day."""

    day: str = Field(description="YYYY-MM-DD (UTC).")
    dollars: str = Field(description="At the tariff, corrections included; a decimal number in text.")
    tokens: int = Field(description="Of prompts and answers.")
    unpriced: int = Field(description="Attempts that are in the tokens, and in no dollars.")


class SpendingDocument(Shape):
    """What one scope has spent."""

    scope: str = Field(description="tenant:NAME, key:ID or adapter:tenant/adapter.")
    since: str = Field(description="First day, YYYY-MM-DD (UTC).")
    until: str = Field(description="The day after the last one.")
    days: list[SpendingDayDocument] = Field(description="Oldest first; a day without any usage is left out.")


def add_spending(router: APIRouter, office: Office) -> None:
    """The route. It blocks, so it is a plain function: Starlette runs it in its thread pool."""

    @router.get("/spending")
    def show_spending(
        scope: Annotated[str, Query(max_length=200, description="tenant:NAME, key:ID or adapter:tenant/adapter.")],
        since: Annotated[
            str | None, Query(alias="from", description="First day, YYYY-MM-DD (UTC); default: of this month.")
        ] = None,
        until: Annotated[str | None, Query(description="YYYY-MM-DD (UTC), exclusive; default: tomorrow.")] = None,
    ) -> SpendingDocument:
        """How a budget burns down: what its scope has spent by day, by the ledger; a second or two behind."""
        at_ms = now_ms()
        window = window_ms(since, until, (month_of(at_ms)[0], day_of(at_ms)[1]), MOST_DAYS)
        first, end = map(day_number, window)
        days = [
            SpendingDayDocument(
                day=date_of(one.day),
                dollars=nano_to_dollars(one.spent.nano),
                tokens=one.spent.tokens,
                unpriced=one.spent.unpriced,
            )
            for one in spending_days(office.registry.db, scope, first, end)
        ]
        return SpendingDocument(scope=scope, since=date_of(first), until=date_of(end), days=days)
