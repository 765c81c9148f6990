"""`GET /admin/v1/reconciliation`: the ledger against what engines have counted themselves."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from gateway.api.admin.office import Office
from gateway.api.admin.shapes import Shape
from gateway.cost.reconcile import Balance, reconcile
from registry.days import DAY_MS, day_ms, window_ms
from registry.db import now_ms

SHIPPING_MS = 5_000
"""What ended more recently may not have been shipped to the ledger yet."""


class TokensDocument(Shape):
    """Tokens of prompts and of completions."""

    prompt: int = Field(description="Read by the engine.")
    completion: int = Field(description="Made by the engine.")


class BalanceDocument(Shape):
    """One boot of one engine, between two readings of its counters. `counted` is the sum of the parts after it."""

    engine: str = Field(description="Its id, else its URL.")
    boot_ms: int = Field(description="When its process began, in milliseconds since the epoch.")
    since_ms: int = Field(description="Of the first reading, in milliseconds since the epoch.")
    until_ms: int = Field(description="Of the last one.")
    attempts: int = Field(description="That the ledger has between them.")
    broken_off: int = Field(description="Of them, those that `abort_overrun` is about.")
    overlapping: int = Field(description="Of them, those that `in_flight` is about.")
    unrecorded: int = Field(description="Of them, those that `lost` is about.")
    counted: TokensDocument = Field(description="By the engine.")
    tenants: TokensDocument = Field(description="Booked with the engine's own count.")
    reread: TokensDocument = Field(description="Prompts of requests for several answers, read once an answer.")
    system: TokensDocument = Field(description="Our own probes.")
    abort_overrun: TokensDocument = Field(description="Done for attempts that broke off, after the last count.")
    in_flight: TokensDocument = Field(description="Of attempts that ran while a reading was taken.")
    lost: TokensDocument = Field(description="Of attempts whose process died before it recorded their end.")
    unexplained: TokensDocument = Field(
        description="What is left; negative: the ledger has more than the engine. 0, or something is wrong: somebody "
        "else uses the engine, rows are missing, or a count is not what we believe."
    )


class ReconciliationDocument(Shape):
    """Every boot of which two readings were taken in the window."""

    since_ms: int = Field(description="Beginning of the window, in milliseconds since the epoch.")
    until_ms: int = Field(description="Its end.")
    unexplained: TokensDocument = Field(description="Of all engines, without signs: two faults hide none.")
    balances: list[BalanceDocument] = Field(description="None: no engine was read twice; each is once a minute.")


def add_reconciliation(router: APIRouter, office: Office) -> None:
    """The route. It blocks, so it is a plain function: Starlette runs it in its thread pool."""

    @router.get("/reconciliation")
    def show_reconciliation(
        since: Annotated[
            str | None,
            Query(alias="from", description="First day, YYYY-MM-DD (UTC); default: 24 hours before the end."),
        ] = None,
        until: Annotated[
            str | None, Query(description="YYYY-MM-DD (UTC), exclusive; default: five seconds ago.")
        ] = None,
    ) -> ReconciliationDocument:
        """What engines have counted, and where it went; as `switchyard ledger reconcile`."""
        end_ms = day_ms(until, "until") if until else now_ms() - SHIPPING_MS
        since_ms, until_ms = window_ms(since, until, (end_ms - DAY_MS, end_ms))
        balances = reconcile(office.registry.readings, since_ms, until_ms)
        return ReconciliationDocument(
            since_ms=since_ms,
            until_ms=until_ms,
            unexplained=_without_signs(balances),
            balances=[BalanceDocument.model_validate(one) for one in balances],
        )


def _without_signs(balances: list[Balance]) -> TokensDocument:
    left = [one.unexplained for one in balances]
    return TokensDocument(
        prompt=sum(abs(one.prompt) for one in left), completion=sum(abs(one.completion) for one in left)
    )
