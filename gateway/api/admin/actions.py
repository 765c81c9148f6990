"""`GET /admin/v1/actions`: who changed what of tenants, keys, model names and added engines."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from gateway.api.admin.office import Office, one_page
from gateway.api.admin.shapes import Limit, Next, Shape

MAX_ID = 2**63 - 1


class ActionDocument(Shape):
    """One change."""

    id: int = Field(description="Counts up as they happen.")
    at_ms: int = Field(description="Milliseconds since the epoch.")
    actor: str = Field(description="`actor` of the order, or who was at the keyboard.")
    action: str = Field(
        description="tenant.created, tenant.changed, key.created, key.rotated, key.revoked, model.mapped, "
        "model.unmapped, responses.deleted, job.cancelled, job.paused, job.resumed, webhook.created, webhook.rotated, "
        "webhook.deleted, engine.added, engine.removed."
    )
    tenant: str = Field(description="Whose it is; _system: an engine.")
    subject: str = Field(description="The tenant's name, the key's id, tenant/external name, or the engine's URL.")
    detail: dict[str, Any] = Field(description="What was set, and what was there before; never a secret.")


class ActionsDocument(Shape):
    """A page of changes, newest first."""

    actions: list[ActionDocument]
    next: Next


def add_actions(router: APIRouter, office: Office) -> None:
    """The route. It blocks, so it is a plain function: Starlette runs it in its thread pool."""

    @router.get("/actions")
    def list_actions(
        tenant: Annotated[str | None, Query(description="Only what concerns this tenant.")] = None,
        after: Annotated[int | None, Query(ge=1, le=MAX_ID, description="`next` of the page before.")] = None,
        limit: Limit = 200,
    ) -> ActionsDocument:
        """Every change, whether it came by this API or the command line."""
        page, following = one_page(office.registry.actions.page(after, limit + 1, tenant), limit, attrgetter("id"))
        return ActionsDocument(
            actions=[ActionDocument.model_validate(info) for info in page],
            next=following,
        )
