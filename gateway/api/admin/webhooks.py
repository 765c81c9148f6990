"""`/admin/v1/webhooks`: addresses of tenants that are told of events."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from gateway.api.admin.office import Office, one_page
from gateway.api.admin.shapes import Actor, After, Limit, Next, Order, Shape
from gateway.webhooks.addresses import refuse_undeliverable
from registry.webhooks.endpoints import EVENT_TYPES

EndpointId = Annotated[str, Path(max_length=40, description="we-….")]


class WebhookDocument(Shape):
    """One address."""

    id: str = Field(description="we-….")
    tenant: str = Field(description="Whose it is.")
    name: str = Field(description="For people.")
    url: str = Field(description="Where events are sent by POST.")
    event_types: list[str] = Field(description="What it is told of.")
    hint: str = Field(description="The end of its secret.")
    created_at_ms: int = Field(description="Milliseconds since the epoch.")
    updated_at_ms: int = Field(description="When it or its secret was changed.")
    tried_at_ms: int | None = Field(description="When the last delivery ended.")
    fault: str | None = Field(description="What went wrong with that; null: it was taken.")


class WebhooksDocument(Shape):
    """A page of addresses, the oldest first."""

    webhooks: list[WebhookDocument]
    next: Next


class NewWebhookOrder(Order):
    """Add an address."""

    tenant: str = Field(description="Whose events it is told of.")
    url: str = Field(description="https://host/path.")
    name: str = Field("webhook", description="For people.")
    event_types: list[str] = Field(list(EVENT_TYPES), description="What it is told of.")
    actor: Actor


class RotateOrder(Order):
    """Give an address a new secret."""

    keep_old: bool = Field(False, description="Let the old one sign too, for 24 hours.")
    actor: Actor


class WebhookSecretDocument(Shape):
    """An address and its secret, which is shown only now."""

    endpoint: WebhookDocument
    secret: str = Field(description="whsec_…: what checks signatures.")


def add_webhooks(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    webhooks = office.registry.webhooks

    @router.get("/webhooks")
    def list_webhooks(
        tenant: Annotated[str | None, Query(description="Only this tenant's.")] = None,
        after: After = None,
        limit: Limit = 100,
    ) -> WebhooksDocument:
        """Every address, without its secret."""
        page, following = one_page(webhooks.page(tenant, after, limit + 1), limit, attrgetter("id"))
        return WebhooksDocument(webhooks=[WebhookDocument.model_validate(one) for one in page], next=following)

    @router.post("/webhooks", status_code=201)
    def create_webhook(order: NewWebhookOrder) -> WebhookSecretDocument:
        """Add an address."""
        refuse_undeliverable(order.url, office.house.workshop.destinations.networks)
        endpoint, secret = webhooks.create(order.tenant, order.name, order.url, order.event_types, operator=order.actor)
        return WebhookSecretDocument(endpoint=WebhookDocument.model_validate(endpoint), secret=secret)

    @router.post("/webhooks/{endpoint_id}/rotate")
    def rotate_webhook(endpoint_id: EndpointId, order: RotateOrder) -> WebhookSecretDocument:
        """Give it a new secret."""
        endpoint, secret = webhooks.rotate(None, endpoint_id, keep_old_for_a_day=order.keep_old, operator=order.actor)
        return WebhookSecretDocument(endpoint=WebhookDocument.model_validate(endpoint), secret=secret)

    @router.delete("/webhooks/{endpoint_id}")
    def delete_webhook(
        endpoint_id: EndpointId,
        actor: Annotated[str, Query(min_length=1, max_length=100, description="Who orders it.")],
    ) -> WebhookDocument:
        """Delete it with what it is still to be told."""
        return WebhookDocument.model_validate(webhooks.delete(None, endpoint_id, operator=actor))
