"""`/admin/v1/limits`: what tenants, keys and adapters may use."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import Field

from gateway.api.admin.etags import IfMatch, IfNoneMatch, expected_by, tag
from gateway.api.admin.office import Office, one_page
from gateway.api.admin.quarantine import WAIT_S
from gateway.api.admin.shapes import After, Dollars, InForce, Limit, Next, Order, Shape
from registry.errors import InvalidInput
from registry.limits.store import MAX_LIMIT, LimitInfo
from registry.money import dollars_to_nano, nano_to_dollars

Whole = Annotated[int | None, Field(strict=True, ge=0, le=MAX_LIMIT)]
Percent = Annotated[int | None, Field(strict=True, ge=1, le=100)]
LimitScope = Annotated[str, Path(max_length=200, description="tenant:NAME, key:ID or adapter:tenant/adapter.")]
DOLLARS = {"daily_dollars": "daily_nano", "monthly_dollars": "monthly_nano"}
"""Fields of a body that are in dollars, and what the registry calls them."""


class LimitDocument(Shape):
    """The limits of one scope; null is no limit, 0 lets nothing through."""

    scope: str = Field(description="tenant:NAME, key:ID or adapter:tenant/adapter.")
    requests_per_minute: int | None = Field(description="Requests in a rolling minute.")
    tokens_per_minute: int | None = Field(description="Tokens of prompts and answers in a rolling minute.")
    concurrency: int | None = Field(description="Requests at once.")
    daily_dollars: str | None = Field(description="Dollars at the tariff in a UTC day, as a decimal number in text.")
    monthly_dollars: str | None = Field(description="Dollars at the tariff in a UTC month, in the same way.")
    daily_tokens: int | None = Field(description="Tokens in a UTC day.")
    monthly_tokens: int | None = Field(description="Tokens in a UTC month.")
    warn_percent: int | None = Field(description="1 to 100: warned of when so much of a budget is spent; null: never.")
    changed_at_ms: int = Field(description="When they were set, in milliseconds since the epoch.")
    etag: str = Field(description="Names these limits; send it as If-Match to change or delete only these.")


class LimitsDocument(Shape):
    """A page of limited scopes, by name."""

    limits: list[LimitDocument]
    next: Next


class LimitOrder(Order):
    """Limits to set; null is no limit. What is not named stays with PATCH, and is no limit any more with PUT."""

    requests_per_minute: Whole = Field(None, description="Requests in a rolling minute.")
    tokens_per_minute: Whole = Field(None, description="Tokens of prompts and answers in a rolling minute.")
    concurrency: Whole = Field(None, description="Requests at once.")
    daily_dollars: Dollars | None = Field(None, description="Dollars in a UTC day, in text.", examples=["2.50"])
    monthly_dollars: Dollars | None = Field(None, description="Dollars in a UTC month, in text.", examples=["50"])
    daily_tokens: Whole = Field(None, description="Tokens in a UTC day.")
    monthly_tokens: Whole = Field(None, description="Tokens in a UTC month.")
    warn_percent: Percent = Field(None, description="1 to 100: warn when so much of a budget is spent.", examples=[80])


class LimitOutcome(LimitDocument):
    """The limits as they are now."""

    in_force: InForce


class Cleared(Shape):
    """What a deletion did."""

    scope: str = Field(description="It has no limits any more.")
    in_force: InForce


def add_limits(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    registry = office.registry

    @router.get("/limits")
    def list_limits(after: After = None, limit: Limit = 200) -> LimitsDocument:
        """Every scope that has limits."""
        page, following = one_page(registry.limits.page(after, limit + 1), limit, attrgetter("scope"))
        return LimitsDocument(
            limits=[_document(info) for info in page],
            next=following,
        )

    @router.get("/limits/{scope:path}")
    def show_limits(scope: LimitScope, response: Response) -> LimitDocument:
        """The limits of one scope; 404 when it has none."""
        info = registry.limits.get(scope)
        tag(response, info.etag)
        return _document(info)

    @router.put("/limits/{scope:path}")
    def replace_limits(
        scope: LimitScope,
        order: LimitOrder,
        response: Response,
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> LimitOutcome:
        """Make these the limits of a scope: what is not named is no limit any more. Gateways obey at once."""
        info = registry.limits.set(scope, _most(order), only=True, expected=expected_by(if_match, if_none_match))
        tag(response, info.etag)
        return LimitOutcome(**dict(_document(info)), in_force=registry.wait_until_served(WAIT_S))

    @router.patch("/limits/{scope:path}")
    def change_limits(
        scope: LimitScope, order: LimitOrder, response: Response, if_match: IfMatch = None
    ) -> LimitOutcome:
        """Set the limits that are named, all or none; what is not named stays. Gateways obey at once."""
        info = registry.limits.set(scope, _most(order), expected=expected_by(if_match))
        tag(response, info.etag)
        return LimitOutcome(**dict(_document(info)), in_force=registry.wait_until_served(WAIT_S))

    @router.delete("/limits/{scope:path}")
    def clear_limits(scope: LimitScope, if_match: IfMatch = None) -> Cleared:
        """Take every limit of a scope away; 404 when it has none."""
        registry.limits.clear(scope, expected=expected_by(if_match))
        return Cleared(scope=scope, in_force=registry.wait_until_served(WAIT_S))


def _most(order: LimitOrder) -> dict[str, int | None]:
    """The limits that are named, as the registry has them. Raises `InvalidInput`."""
    named = order.model_dump(exclude_unset=True)
    if not named:
        fields = ", ".join(LimitOrder.model_fields)
        raise InvalidInput(f"the body names no limit; name at least one of {fields}", param="limits")
    return {
        DOLLARS.get(name, name): dollars_to_nano(value, name) if name in DOLLARS and value is not None else value
        for name, value in named.items()
    }


def _document(info: LimitInfo) -> LimitDocument:
    return LimitDocument(
        scope=info.scope,
        requests_per_minute=info.requests_per_minute,
        tokens_per_minute=info.tokens_per_minute,
        concurrency=info.concurrency,
        daily_dollars=None if info.daily_nano is None else nano_to_dollars(info.daily_nano),
        monthly_dollars=None if info.monthly_nano is None else nano_to_dollars(info.monthly_nano),
        daily_tokens=info.daily_tokens,
        monthly_tokens=info.monthly_tokens,
        warn_percent=info.warn_percent,
        changed_at_ms=info.changed_at_ms,
        etag=info.etag,
    )
