"""`/admin/v1/cost/report` and `…/statement`: the cost report and a tenant's month, as JSON, CSV or a page."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Literal, NamedTuple

from fastapi import APIRouter, Depends, Header, Query, Response

from gateway.api.admin.cost_shapes import CostReportDocument, StatementDocument
from gateway.api.admin.office import Office, in_json
from gateway.api.admin.shapes import After, Limit
from gateway.api.admin.usage import NEXT
from gateway.cost.allocation import IdlePolicy
from gateway.cost.assumptions import assumptions_of
from gateway.cost.costing import named_idle
from gateway.cost.looking_up import LookUps
from gateway.cost.report import CostLine, CostReport
from gateway.cost.report_csv import csv_of
from gateway.cost.report_document import document_of, mark_of
from gateway.cost.reporting import Asked, baselines_of, focus_of, in_order, report_of
from gateway.cost.statement import statement_document, statement_of
from gateway.cost.statement_page import page_of
from registry.days import day_ms
from registry.db import now_ms
from registry.engine_costs.log import NOTHING
from registry.errors import InvalidInput
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


def _compared(
    baseline: Baselines = None,
    price_version: PriceVersion = None,
    cost_version: CostVersion = None,
    cached_share: CachedShare = None,
    batch_share: BatchShare = "0",
) -> Asked:
    """What reports and statements are asked for alike."""
    return Asked(
        baselines=tuple(name.strip() for name in (baseline or "").split(",") if name.strip()),
        price_version=price_version,
        cost_version=cost_version,
        assumed=assumptions_of(cached_share, batch_share),
    )


Compared = Annotated[Asked, Depends(_compared)]


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
        compared: Compared,
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
        asked = replace(
            compared,
            by=by,
            since_ms=day_ms(since, "from") if since else None,
            until_ms=day_ms(until, "until") if until else now_ms(),
            tenant=tenant,
            idle=named_idle(registry, idle, compared.cost_version),
        )
        mark = None if after is None else _PageMark.parse(after)
        if mark is not None:
            asked = replace(
                asked, until_ms=mark.until_ms, price_version=mark.price_version, cost_version=mark.cost_version
            )
        look_ups.look_up(baselines_of(registry, asked), asked.price_version)
        if format == "focus":
            return _csv(focus_of(registry, asked), None)
        report = in_order(report_of(registry, asked), order)
        lines, following = _page(report, mark, limit)
        if format == "csv" or (format is None and accept.lstrip().lower().startswith("text/csv")):
            return _csv(csv_of(report, lines), following)
        return in_json(CostReportDocument(**document_of(report, lines, explained=explain), next=following))


def _add_statement(router: APIRouter, office: Office, look_ups: LookUps) -> None:
    registry = office.registry

    @router.get(
        "/cost/statement",
        response_model=StatementDocument,
        responses={200: {"content": {"text/html": {}}, "description": "HTML is one page that prints well."}},
    )
    def show_statement(
        compared: Compared,
        tenant: Annotated[str, Query(description="Whose.")],
        month: Annotated[str, Query(description="YYYY-MM (UTC).")],
        idle: Idle = None,
        with_engine_costs: Annotated[
            bool, Query(description="Put in what engines cost and the margin, which is not for the tenant.")
        ] = False,
        format: Annotated[Literal["json", "html"], Query(description="A document, or a page.")] = "json",
    ) -> Response:
        """A tenant's month: models, days, prices, what is charged, and what APIs would have cost."""
        asked = replace(compared, idle=named_idle(registry, idle, compared.cost_version))
        look_ups.look_up(baselines_of(registry, asked), asked.price_version)
        made = statement_of(registry, tenant, month, asked, with_engine_costs=with_engine_costs)
        if format == "html":
            return Response(page_of(made), media_type="text/html; charset=utf-8")
        return in_json(StatementDocument(**statement_document(made)))


class _PageMark(NamedTuple):
    """The last line of a page, and of which instant and by which versions the page is: the next is of the same."""

    until_ms: int
    price_version: str
    cost_version: str
    line: str

    @classmethod
    def parse(cls, text: str) -> _PageMark:
        """As `next` of a page has it. Raises `InvalidInput`."""
        form = _MARK.fullmatch(text)
        if form is None:
            raise _no_mark(text)
        return cls(int(form[1]), form[2], form[3], form[4])

    def __str__(self) -> str:
        return " ".join(map(str, self))


_MARK = re.compile(r"([0-9]{1,15}) (p\S{1,40}) (c\S{1,120}) (.+)")


def _no_mark(text: str) -> InvalidInput:
    return InvalidInput(f"after is {text!r:.80}; send `next` of the page before", param="after")


def _page(report: CostReport, after: _PageMark | None, limit: int) -> tuple[tuple[CostLine, ...], str | None]:
    """The lines of one page, and the mark of the next one."""
    marks = [mark_of(line) for line in report.lines]
    if after is not None and after.line not in marks:
        raise _no_mark(after.line)
    begin = 0 if after is None else marks.index(after.line) + 1
    lines = report.lines[begin : begin + limit]
    if begin + limit >= len(marks):
        return lines, None
    version = report.engines.cost_version or NOTHING
    return lines, str(_PageMark(report.until_ms, report.price_version, version, marks[begin + limit - 1]))


def _csv(text: str, following: str | None) -> Response:
    headers = {NEXT: following} if following else {}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
