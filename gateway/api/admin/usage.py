"""`GET /admin/v1/usage`: who used what, as JSON or CSV."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Response
from pydantic import Field

from gateway.api.admin.office import NEXT, Office, in_json
from gateway.api.admin.shapes import After, Limit, Next, Shape
from registry.days import window_ms
from registry.db import now_ms
from registry.ledger.usage_report import By, report_usage, usage_csv

OfTenants = Annotated[
    str | None, Query(max_length=4_000, description="Only this tenant's; of several, with commas between them.")
]


class UsageLineDocument(Shape):
    """Attempts of one tenant, adapter, version, key, day, split or arm that began in the window."""

    tenant: str | None = Field(description="Null where a line is of all tenants: by day, unless one was asked for.")
    name: str = Field(
        description="The tenant, tenant/adapter, tenant/adapter@1.0, a key's id, YYYY-MM-DD (UTC), or "
        "tenant/adapter@alias split 3, with ': 1.0' behind it for an arm."
    )
    attempts: int = Field(description="Requests on engines; one that was tried twice counts twice.")
    ok: int = Field(description="Answered to the end.")
    client_aborted: int = Field(description="The client left before the end.")
    key_revoked: int = Field(description="Ended as the key was revoked, or reached its end.")
    failed: int = Field(description="Failed by an engine or a load, or lost with the process that served them.")
    rejected: int = Field(description="Found invalid by an engine.")
    partial: int = Field(description="Attempts with the engine's count up to where they broke off.")
    estimated: int = Field(description="Attempts whose prompt was guessed, and whose completion nobody counted.")
    prompt_tokens: int = Field(description="Sum, as booked.")
    cached_tokens: int = Field(description="Of them, those that came from the prefix cache.")
    completion_tokens: int = Field(description="Sum, as booked.")
    cost_dollars: str | None = Field(
        description="At the tariff, corrections included; a decimal number in text. Null: nothing of it had a price."
    )
    unpriced: int = Field(description="Attempts that somebody would pay for, and for which no price was in force.")
    busy_ms: int = Field(description="Sum of the attempts' durations.")
    refused: int = Field(description="Requests that never became attempts, on the UTC days of the window.")
    refused_by_reason: dict[str, int] = Field(
        description="Of them, so many by each limit (requests_per_minute, daily_dollars, …) or error's code."
    )
    ttft_ms: float | None = Field(description="Mean time to the first bytes of streamed answers; null: there was none.")
    payable: int = Field(
        description="Attempts that are charged where there is a price: no failures, copies, own probes."
    )
    shadow: bool = Field(
        description="Whether these are copies of requests, whose answers nobody got; their name ends in ' (shadow)', "
        "and cost_dollars is what they would have cost: nobody is charged."
    )


class UsageDocument(Shape):
    """A page of lines, by tenant and name."""

    by: By = Field(description="What a line stands for.")
    tenant: str | None = Field(
        description="The only tenant that is shown; null: several, or all and _system, our own probes."
    )
    since_ms: int = Field(description="Beginning of the window, in milliseconds since the epoch.")
    until_ms: int = Field(description="Its end, exclusive, in milliseconds since the epoch.")
    lines: list[UsageLineDocument]
    next: Next


def add_usage(router: APIRouter, office: Office) -> None:
    """The route."""

    @router.get(
        "/usage",
        response_model=UsageDocument,
        responses={200: {"content": {"text/csv": {}}, "description": f"CSV has the next page's mark in {NEXT}."}},
    )
    def show_usage(
        by: Annotated[By, Query(description="What one line stands for.")] = "tenant",
        tenant: OfTenants = None,
        since: Annotated[str | None, Query(alias="from", description="First day, YYYY-MM-DD (UTC).")] = None,
        until: Annotated[str | None, Query(description="YYYY-MM-DD (UTC), exclusive; default: now.")] = None,
        format: Annotated[Literal["json", "csv"] | None, Query(description="Instead of an Accept header.")] = None,
        accept: Annotated[str, Header()] = "application/json",
        after: After = None,
        limit: Limit = 200,
    ) -> Response:
        """Attempts, tokens and dollars of a window; the newest are a second or two behind."""
        since_ms, until_ms = window_ms(since, until, (0, now_ms()))
        report = report_usage(
            office.registry.db,
            by,
            since_ms=since_ms,
            until_ms=until_ms,
            tenants=None if tenant is None else tenant.split(","),
            after=after,
            limit=limit,
        )
        if format == "csv" or (format is None and accept.lstrip().lower().startswith("text/csv")):
            headers = {NEXT: report.next} if report.next else {}
            return Response(usage_csv(report.lines), media_type="text/csv; charset=utf-8", headers=headers)
        return in_json(UsageDocument.model_validate(report))
