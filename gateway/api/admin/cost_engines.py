"""`/admin/v1/cost/engines` and `/cost/idle`: what engines cost, and who pays for their idle time."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from gateway.api.admin.cost_bill import CostVersion
from gateway.api.admin.office import Office, in_json
from gateway.api.admin.shapes import PRINTABLE, Actor, After, Day, Limit, Name, Next, Order, Shape
from gateway.cost.allocation import IdlePolicy, idle_of
from gateway.cost.costing import default_idle
from registry.days import day_ms
from registry.engine_costs.log import MAX_NAME_CHARS, HourlyCost
from registry.engine_costs.terms import FORMULAS, Kind
from registry.engine_costs.version import CostVersion as Known
from registry.errors import InvalidInput
from registry.money import nano_to_dollars

Decimals = Annotated[str, Field(max_length=40, pattern=PRINTABLE)]


class HourlyCostDocument(Shape):
    """A line of the log of engine costs."""

    line: int = Field(description="Its number in the log.")
    scope: str = Field(description="engine:ID, host:NAME, pool:NAME, trainer, or * for each engine without another.")
    kind: Kind = Field(description="on_demand and spot cost while an engine is there, reserved and owned at all hours.")
    dollars_an_hour: str = Field(description="Worked out from the terms by the formula; a decimal number in text.")
    formula: str = Field(description="How the terms make an hour.")
    terms: dict[str, str] = Field(description="Decimal numbers in text.")
    effective_from_ms: int = Field(description="When it begins to hold, in milliseconds since the epoch.")
    correction: bool = Field(description="Whether it changed bills of days that were over.")
    source: str = Field(description="Where the figure is from.")
    actor: str = Field(description="Who added it.")
    added_at_ms: int = Field(description="When, in milliseconds since the epoch.")


class EngineCostsDocument(Shape):
    """A page of the log, oldest line first."""

    cost_version: str = Field(description="Of the log alone; bills name it, and what else they were made with.")
    lines: list[HourlyCostDocument] = Field(description="In the order in which they were added.")
    next: Next


class EngineCostOrder(Order):
    """What something costs from a day on; `ended`: nothing more."""

    scope: str = Field(max_length=MAX_NAME_CHARS + 10, description="engine:ID, host:NAME, pool:NAME, trainer or *.")
    kind: Kind = Field(description="Or `ended`: it costs nothing more.")
    terms: dict[str, Decimals] = Field(
        default_factory=dict, max_length=12, description="Decimal numbers in text.", examples=[{"hourly": "2.74"}]
    )
    effective_from: Day | None = Field(None, description="First day, YYYY-MM-DD (UTC); default: from now on.")
    correction: bool = Field(False, description="Whether it may change bills of days that are over.")
    source: str = Field(max_length=500, pattern=PRINTABLE, description="Where the figure is from.")
    actor: Actor


class IdleDocument(Shape):
    """Who idle time falls to, unless a bill is asked for otherwise."""

    policy: IdlePolicy = Field(description="unallocated, by_share, equal or reserved.")
    shares: dict[str, str] = Field(description="Of `reserved`: tenant → part of all idle time.")


class IdleOrder(Order):
    """The policy from now on."""

    policy: IdlePolicy = Field(description="unallocated, by_share, equal or reserved.")
    shares: dict[Name, Decimals] = Field(
        default_factory=dict, max_length=10_000, description="Of `reserved`: tenant → part of all idle time."
    )
    actor: Actor


def add_cost_engines(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    registry = office.registry

    @router.get("/cost/engines", response_model=EngineCostsDocument)
    def list_engine_costs(cost_version: CostVersion = None, after: After = None, limit: Limit = 200) -> Response:
        """Every line, oldest first."""
        log = registry.engine_costs.log(Known.parse(cost_version).log)
        since = _position(after) if after is not None else 0
        page = log.lines[since : since + limit]
        return in_json(
            EngineCostsDocument(
                cost_version=log.version,
                lines=[_document(line) for line in page],
                next=str(page[-1].seq) if since + limit < len(log.lines) else None,
            )
        )

    @router.post("/cost/engines", status_code=201)
    def add_engine_cost(order: EngineCostOrder) -> HourlyCostDocument:
        """Add a cost, or the end of one. What is added today changes nothing before today, but where nothing had a
        cost, unless it is a correction.
        """
        from_ms = None if order.effective_from is None else day_ms(order.effective_from, "effective_from")
        return _document(
            registry.engine_costs.add(
                order.scope,
                order.kind,
                order.terms,
                effective_from_ms=from_ms,
                source=order.source,
                actor=order.actor,
                correct=order.correction,
            )
        )

    @router.get("/cost/idle")
    def get_idle() -> IdleDocument:
        """The policy in force."""
        known = registry.idle_policies.newest()
        return IdleDocument(policy=default_idle(registry).policy, shares={} if known is None else dict(known.shares))

    @router.put("/cost/idle")
    def put_idle(order: IdleOrder) -> IdleDocument:
        """Another one from now on; bills of days that are over can be asked for with any."""
        idle_of(order.policy, order.shares)
        for tenant in order.shares:
            registry.tenants.get(tenant)
        put = registry.idle_policies.put(order.policy, order.shares, actor=order.actor)
        return IdleDocument(policy=order.policy, shares=dict(put.shares))


def _position(after: str) -> int:
    if not (after.isdecimal() and len(after) <= 18):
        raise InvalidInput(f"after is {after[:80]!r}; send `next` of the page before", param="after")
    return int(after)


def _document(line: HourlyCost) -> HourlyCostDocument:
    said = line.said
    kind: Literal["on_demand", "reserved", "owned", "spot", "ended"] = said.kind  # type: ignore[assignment]
    return HourlyCostDocument(
        line=line.seq,
        scope=said.scope,
        kind=kind,
        dollars_an_hour=nano_to_dollars(said.nano_per_hour),
        formula=FORMULAS[said.kind],
        terms=dict(said.terms),
        effective_from_ms=said.effective_from_ms,
        correction=said.correction,
        source=said.source,
        actor=said.actor,
        added_at_ms=line.added_at_ms,
    )
