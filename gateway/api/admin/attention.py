"""`GET /admin/v1/attention`: what needs a person's decision, with what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from gateway.api.admin.office import Office, in_json
from gateway.api.admin.shapes import Shape
from gateway.attention.all import attention_of
from gateway.attention.item import Kind, Known, Severity
from registry.db import now_ms


class ItemDocument(Shape):
    """One thing that needs a decision."""

    kind: Kind = Field(description="What it is; of the same kind and object there is one.")
    severity: Severity = Field(
        description="act: tenants are hurt, or something waits for a person. watch: it may come to that."
    )
    object: str = Field(description="What it is about: an engine's URL, acme/triage@1.1, experiments/7, a job's id ….")
    tenant: str | None = Field(description="Whose it is; null: everybody's.")
    since_ms: int | None = Field(description="Milliseconds since the epoch; null: nobody wrote down when it began.")
    said: str = Field(description="What is so, in a sentence.")
    remedy: str = Field(description="What to do, in a sentence.")
    command: str | None = Field(description="That does it, or shows more.")
    page: str = Field(description="Of the dashboard, where it can be seen or done.")


class AttentionDocument(Shape):
    """Everything that needs a decision, the most urgent first."""

    at_ms: int = Field(description="When it was looked at, in milliseconds since the epoch.")
    act: int = Field(description="How many have the severity act.")
    watch: int = Field(description="How many have the severity watch.")
    items: list[ItemDocument] = Field(description="At most `limit` of them.")


def add_attention(router: APIRouter, office: Office) -> None:
    """The route."""

    @router.get("/attention", response_model=AttentionDocument)
    async def attention(
        tenant: Annotated[str | None, Query(max_length=63, description="Only what is this tenant's.")] = None,
        limit: Annotated[int, Query(ge=1, le=1_000, description="Items in the answer.")] = 200,
    ) -> Response:
        """What is wrong or waits for somebody, with what to do; works without a controller too. Reads no attempts."""
        fleet = await office.worker.inspect()
        return await run_in_threadpool(lambda: in_json(_document(office, fleet, tenant, limit)))


def known_now(office: Office, fleet: Mapping[str, Any] | None) -> Known:
    """What sources are asked with; `fleet` is the controller's document, if there is one."""
    watch, registry = office.house.catalog, office.registry
    days = registry.settings.retirement_notice_days
    return Known(registry, watch.current, watch.lapsed, fleet, now_ms(), days)


def _document(office: Office, fleet: Mapping[str, Any] | None, tenant: str | None, limit: int) -> AttentionDocument:
    known = known_now(office, fleet)
    items = [one for one in attention_of(known) if tenant in (None, one.tenant)]
    act = sum(one.severity == "act" for one in items)
    shown = [ItemDocument.model_validate(one) for one in items[:limit]]
    return AttentionDocument(at_ms=known.at_ms, act=act, watch=len(items) - act, items=shown)
