"""`/admin/v1/cost/bill`: what engines cost in a window, and who it falls to."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from gateway.api.admin.office import Office
from gateway.api.admin.shapes import Shape
from gateway.cost.allocation import IdlePolicy, LineKind
from gateway.cost.costing import bill_document
from registry.days import window_ms
from registry.db import now_ms

CostVersion = Annotated[
    str | None,
    Query(max_length=120, description="As all was known when a bill named it, or by this log; default: as now."),
]


class BillLineDocument(Shape):
    """What falls to one tenant, or to nobody, of one kind. Money is dollars, as decimal numbers in text."""

    kind: LineKind = Field(description="tenant, training, loads, experiments, shadow, system (our probes) or idle.")
    tenant: str | None = Field(description="null: nobody's.")
    attempts: int = Field(description="That began in the window.")
    marginal: str | None = Field(description="What its tokens alone take of engines; null: weights are assumed.")
    busy: str = Field(description="Its part of the time in which engines were busy.")
    idle: str = Field(description="Its part of the time in which they were not, by the policy.")
    loaded: str = Field(description="Both. The sum over all lines is the bill, to the nano-dollar.")


class MarginDocument(Shape):
    """What a tenant is charged, and what falls to it."""

    tenant: str = Field(description="Of the tariff.")
    tariff: str | None = Field(description="Charged for the window, by the ledger; null: no tariff was in force.")
    unpriced: int = Field(description="Attempts that would be charged, and for which no tariff was in force.")
    loaded: str = Field(description="What falls to it of the bill.")
    margin: str | None = Field(
        description="tariff - loaded; negative where it costs more than it is charged; null where some are unpriced."
    )


class BilledEngineDocument(Shape):
    """What one engine costs in the window."""

    engine: str = Field(description="Its id; host:NAME and pool:NAME while none was there, or trainer.")
    bill: str = Field(description="All of it.")
    busy: str = Field(description="Of the time in which it was busy.")
    paid_hours: float = Field(description="In which something was paid for it.")
    uncosted_hours: float = Field(description="In which it was there without a cost.")
    uncosted_attempts: int = Field(description="On days of which some had none: nobody knows which of them ran then.")


class BilledCostDocument(Shape):
    """A line of the log of engine costs, as far as it counts on one day of one engine."""

    line: int = Field(description="Its number in the log.")
    scope: str = Field(description="What it is the cost of.")
    kind: str = Field(description="on_demand, spot, reserved or owned.")
    formula: str = Field(description="How the terms make an hour.")
    terms: dict[str, str] = Field(description="Decimal numbers in text.")
    source: str = Field(description="Where the figure is from.")
    an_hour: str = Field(description="Of the whole scope.")
    hours: float = Field(description="For how long it counted.")


class BilledDayDocument(Shape):
    """One engine on one UTC day."""

    day: str = Field(description="YYYY-MM-DD (UTC).")
    engine: str = Field(description="Its id.")
    bill: str = Field(description="What it cost.")
    weights: str | None = Field(description="By which its busy time was divided, and where they are from.")
    costs: list[BilledCostDocument] = Field(description="What it cost by.")


class BillDocument(Shape):
    """The bill of a window."""

    since_ms: int = Field(description="In milliseconds since the epoch.")
    until_ms: int = Field(description="Exclusive.")
    cost_version: str = Field(description="Asked for with it, the bill is the same again.")
    bill: str = Field(description="The sum of all lines.")
    idle_policy: IdlePolicy = Field(description="Who idle time falls to.")
    weights: str = Field(description="assumed, where any of it was divided by weights that nobody measured; or fitted.")
    uncosted_hours: float = Field(description="In which engines were there without a cost: in none of the figures.")
    uncosted_attempts: int = Field(description="On engines that had no cost for some of their day.")
    lines: list[BillLineDocument] = Field(description="By kind and tenant.")
    margins: list[MarginDocument] = Field(description="By tenant.")
    engines: list[BilledEngineDocument] = Field(description="By id.")
    formulas: dict[str, str] | None = Field(None, description="With `explain`: how each figure is made.")
    days: list[BilledDayDocument] | None = Field(None, description="With `explain`: each engine on each day.")


def add_cost_bill(router: APIRouter, office: Office) -> None:
    """The route. It blocks, so it is a plain function: Starlette runs it in its thread pool."""
    registry = office.registry

    @router.get("/cost/bill")
    def get_bill(
        since: Annotated[str, Query(alias="from", description="First day, YYYY-MM-DD (UTC).")],
        until: Annotated[str | None, Query(description="First day that is not in it; default: until now.")] = None,
        idle: Annotated[IdlePolicy | None, Query(description="Who idle time falls to; default: `/cost/idle`.")] = None,
        cost_version: CostVersion = None,
        explain: Annotated[bool, Query(description="With formulas, and what each engine cost on each day.")] = False,
    ) -> BillDocument:
        """What engines cost, and who it falls to: the sum of the lines is the bill."""
        since_ms, until_ms = window_ms(since, until, (0, now_ms()))
        found = bill_document(registry, since_ms, until_ms, idle=idle, cost_version=cost_version, explain=explain)
        return BillDocument(**found)
