"""`/admin/v1/tariffs`: what tokens cost the tenants, now, before and later."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from gateway.api.admin.office import Office, in_json, one_page
from gateway.api.admin.shapes import After, Day, Dollars, Limit, Next, Order, Shape
from registry.days import day_ms
from registry.errors import InvalidInput
from registry.money import nano_to_dollars
from registry.prices.tariffs import State, TariffInfo


class TariffDocument(Shape):
    """A price in dollars per million tokens, as decimal numbers in text."""

    scope: str = Field(description="base:NAME, tenant:NAME or adapter:tenant/adapter; the last that applies counts.")
    effective_from_ms: int = Field(description="When it begins to hold, in milliseconds since the epoch.")
    state: State = Field(description="`in force` is the one of its scope that holds now; one `replaced` never begins.")
    input: str = Field(description="Dollars per million input tokens.")
    cached_input: str = Field(description="Dollars per million input tokens that came from the prefix cache.")
    output: str = Field(description="Dollars per million output tokens.")
    source: str = Field(description="Where the figures are from.")
    added_at_ms: int = Field(description="When it was added, in milliseconds since the epoch.")


class TariffsDocument(Shape):
    """A page of prices, by scope and then as they were added."""

    tariffs: list[TariffDocument]
    next: Next


class TariffOrder(Order):
    """A price to add, in dollars per million tokens, as decimal numbers in text."""

    scope: str = Field(description="base:NAME, tenant:NAME or adapter:tenant/adapter.")
    input: Dollars = Field(description="Dollars per million input tokens.", examples=["0.30"])
    output: Dollars = Field(description="Dollars per million output tokens.", examples=["1.20"])
    cached_input: Dollars | None = Field(
        None, description="Dollars per million cached input tokens; default: as `input`."
    )
    effective_from: Day | None = Field(
        None, description="First day that it holds, YYYY-MM-DD (UTC); default: from now on."
    )
    source: str = Field(max_length=500, description="Where the figures are from.")


def add_tariffs(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    registry = office.registry

    @router.get("/tariffs", response_model=TariffsDocument)
    def list_tariffs(
        scope: Annotated[str | None, Query(description="Only this scope's; 404 when it does not exist.")] = None,
        after: After = None,
        limit: Limit = 200,
    ) -> Response:
        """Every price that ever held, and those to come."""
        infos = registry.tariffs.all(scope)
        since = _position(after) if after is not None else None
        rest = [info for info in infos if since is None or (info.scope, info.id) > since]
        page, following = one_page(rest, limit, lambda info: f"{info.scope}@{info.id}")
        return in_json(TariffsDocument(tariffs=[_document(info) for info in page], next=following))

    @router.post("/tariffs")
    def add_tariff(order: TariffOrder) -> TariffDocument:
        """Add a price. Prices are never edited: a change is a new price with its date. It takes the place of those of
        its scope that would begin no earlier.
        """
        info = registry.tariffs.add(
            order.scope,
            input_dollars=order.input,
            output_dollars=order.output,
            cached_dollars=order.cached_input,
            effective_from_ms=None if order.effective_from is None else day_ms(order.effective_from, "effective_from"),
            source=order.source,
        )
        return _document(info)


MOST_DIGITS = 18
"""Of a number that SQL keeps."""


def _position(after: str) -> tuple[str, int]:
    scope, _, id_ = after.rpartition("@")
    if not (scope and id_.isdecimal() and len(id_) <= MOST_DIGITS):
        raise InvalidInput(f"after is {after[:80]!r}; send `next` of the page before", param="after")
    return scope, int(id_)


def _document(info: TariffInfo) -> TariffDocument:
    return TariffDocument(
        scope=info.scope,
        effective_from_ms=info.effective_from_ms,
        state=info.state,
        input=nano_to_dollars(info.input_nano_per_mtok),
        cached_input=nano_to_dollars(info.cached_input_nano_per_mtok),
        output=nano_to_dollars(info.output_nano_per_mtok),
        source=info.source,
        added_at_ms=info.added_at_ms,
    )
