"""`/admin/v1/cost/radar`: which models vendors switch off, who depends on them, and the way out."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from gateway.api.admin.office import Office, in_json
from gateway.api.admin.shapes import After, Limit, Next, Shape
from registry.days import MOST_DAYS
from registry.errors import InvalidInput
from registry.prices.radar import document


class RunningDocument(Shape):
    """An experiment that has not ended."""

    id: int = Field(description="Of the experiment.")
    name: str = Field(description="Of the experiment.")
    alias: str = Field(description="The alias that it is about.")
    state: str = Field(description="Of the experiment.")


class RetirementDocument(Shape):
    """A model that ends at its vendor."""

    kind: Literal["name", "baseline"] = Field(description="A tenant's own name, or what figures are compared with.")
    tenant: str | None = Field(description="Who is hit.")
    name: str = Field(description="The model or mapped name that ends.")
    baseline: str = Field(description="By which the price log knows the vendor's model.")
    ends_on: str = Field(description="YYYY-MM-DD (UTC).")
    days_left: int = Field(description="Negative: it is over.")
    source: str = Field(description="Where the day is from.")
    served_by: str | None = Field(description="What answers here under the tenant's name.")
    experiments: list[RunningDocument] = Field(description="On the adapter that answers.")
    substitute: str | None = Field(description="What takes its place at its vendor; null: not known.")
    exit: str = Field(description="What to do, as a sentence.")


class RadarDocument(Shape):
    """A page of what ends, the earliest first."""

    retirements: list[RetirementDocument]
    next: Next


def add_cost_radar(router: APIRouter, office: Office) -> None:
    """The route. It blocks, so it is a plain function: Starlette runs it in its thread pool."""
    registry = office.registry

    @router.get("/cost/radar", response_model=RadarDocument)
    def radar(
        days: Annotated[
            int | None,
            Query(ge=0, le=MOST_DAYS, description="Look so far; default: SWITCHYARD_RETIREMENT_NOTICE_DAYS."),
        ] = None,
        tenant: Annotated[str | None, Query(description="Its names alone.")] = None,
        after: After = None,
        limit: Limit = 200,
    ) -> Response:
        """Tenants' names and baselines whose models end at their vendors, or have ended lately, with the way out."""
        found = registry.radar.within(registry.settings.retirement_notice_days if days is None else days, tenant)
        first = 0 if after is None else _position(after)
        page = found[first : first + limit]
        more = first + limit < len(found)
        return in_json(
            RadarDocument(
                retirements=[RetirementDocument(**document(one)) for one in page],
                next=str(first + limit) if more else None,
            )
        )


def _position(after: str) -> int:
    if not (after.isdecimal() and len(after) <= 9):
        raise InvalidInput(f"after is {after[:80]!r}; send `next` of the page before", param="after")
    return int(after)
