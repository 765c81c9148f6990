"""`/admin/v1/cost/report` and `…/statement`: the cost report and a tenant's month, as JSON, CSV or a page."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, NamedTuple

from fastapi import APIRouter, Depends, Header, Query, Response

from gateway.api.admin.cost_shapes import CostReportDocument, StatementDocument
from gateway.api.admin.office import NEXT, Office, answered, in_json
from gateway.api.admin.shapes import After, Limit
from gateway.cost.accountant.questions import ReportQuestion
from gateway.cost.allocation import IdlePolicy
from gateway.cost.assumptions import assumptions_of
from gateway.cost.costing import named_idle
from gateway.cost.looking_up import LookUps
from gateway.cost.reporting import Asked, baselines_of, names_in
from gateway.cost.statement import statement_document, statement_of
from gateway.cost.statement_page import page_of
from registry.ledger.usage_cells import CostBy

Baselines = Annotated[
    str | None,
    Query(
        max_length=2_000, description="APIs to compare with, commas between them; default: ft:gpt-4o-mini,gpt-5.4-mini."
    ),
]
Idle = Annotated[IdlePolicy | None, Query(description="Who idle time falls to; default: as an operator has put it.")]
PriceVersion = Annotated[str | None, Query(description="Of the log of list prices, as an earlier report named it.")]
CostVersion = Annotated[
    str | None, Query(max_length=120, description="What engines cost as it was known when an earlier report named it.")
]
CachedShare = Annotated[
    str | None, Query(description="Part of prompts that an API's cache has, 0 to 1; default: as much as our own had.")
]
LineOrder = Annotated[
    Literal["name", "cost"],
    Query(description="cost: those first for which engines cost most, or that were charged most."),
]
BatchShare = Annotated[str, Query(description="Part of requests that could go by an API's batch queue, 0 to 1.")]


class Compared(NamedTuple):
    """What reports and statements are asked for alike, as it is written."""

    baseline: str | None
    price_version: str | None
    cost_version: str | None
    cached_share: str | None
    batch_share: str


def _compared(
    baseline: Baselines = None,
    price_version: PriceVersion = None,
    cost_version: CostVersion = None,
    cached_share: CachedShare = None,
    batch_share: BatchShare = "0",
) -> Compared:
    assumptions_of(cached_share, batch_share)
    return Compared(baseline, price_version, cost_version, cached_share, batch_share)


AsCompared = Annotated[Compared, Depends(_compared)]


def add_cost(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    look_ups = LookUps(office.registry)
    _add_report(router, office, look_ups)
    _add_statement(router, office, look_ups)


def _add_report(router: APIRouter, office: Office, look_ups: LookUps) -> None:
    registry = office.registry

    @router.get(
        "/cost/report",
        response_model=CostReportDocument,
        responses={
            200: {
                "content": {"text/csv": {}},
                "description": f"CSV has the next page's mark in {NEXT}; FOCUS is whole.",
            }
        },
    )
    def show_cost_report(
        compared: AsCompared,
        by: Annotated[CostBy, Query(description="What one line stands for.")] = "tenant",
        tenant: Annotated[str | None, Query(description="Only this tenant's.")] = None,
        since: Annotated[
            str | None,
            Query(alias="from", description="First day, YYYY-MM-DD (UTC); default: that of the first usage."),
        ] = None,
        until: Annotated[str | None, Query(description="YYYY-MM-DD (UTC), exclusive; default: now.")] = None,
        idle: Idle = None,
        order: LineOrder = "name",
        explain: Annotated[bool, Query(description="Open every number of the page.")] = False,
        format: Annotated[
            Literal["json", "csv", "focus"] | None, Query(description="Instead of an Accept header.")
        ] = None,
        accept: Annotated[str, Header()] = "application/json",
        after: After = None,
        limit: Limit = 200,
    ) -> Response:
        """What was used, what it was charged, what engines cost for it, and what APIs would have; `focus`: FOCUS 1.3
        rows as CSV.
        """
        asks_csv = accept.lstrip().lower().startswith("text/csv")
        question = ReportQuestion(
            by=by,
            tenant=tenant,
            since=since,
            until=until,
            idle=idle,
            order=order,
            explain=explain,
            form=format or ("csv" if asks_csv else "json"),
            after=after,
            limit=limit,
            **compared._asdict(),
        )
        if after is None:  # a page that goes on has a price version
            look_ups.look_up(baselines_of(registry, _asked(compared)), compared.price_version)
        return answered(office, question)


def _add_statement(router: APIRouter, office: Office, look_ups: LookUps) -> None:
    registry = office.registry

    @router.get(
        "/cost/statement",
        response_model=StatementDocument,
        responses={200: {"content": {"text/html": {}}, "description": "HTML is one page that prints well."}},
    )
    def show_statement(
        compared: AsCompared,
        tenant: Annotated[str, Query(description="Whose.")],
        month: Annotated[str, Query(description="YYYY-MM (UTC).")],
        idle: Idle = None,
        with_engine_costs: Annotated[
            bool, Query(description="Put in what engines cost and the margin, which is not for the tenant.")
        ] = False,
        format: Annotated[Literal["json", "html"], Query(description="A document, or a page.")] = "json",
    ) -> Response:
        """A tenant's month: models, days, prices, what is charged, and what APIs would have cost."""
        asked = replace(_asked(compared), idle=named_idle(registry, idle, compared.cost_version))
        look_ups.look_up(baselines_of(registry, asked), asked.price_version)
        made = statement_of(registry, tenant, month, asked, with_engine_costs=with_engine_costs)
        if format == "html":
            return Response(page_of(made), media_type="text/html; charset=utf-8")
        return in_json(StatementDocument(**statement_document(made)))


def _asked(compared: Compared) -> Asked:
    return Asked(
        baselines=names_in(compared.baseline),
        price_version=compared.price_version,
        cost_version=compared.cost_version,
        assumed=assumptions_of(compared.cached_share, compared.batch_share),
    )
