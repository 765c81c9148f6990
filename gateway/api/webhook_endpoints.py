"""`/v1/webhook_endpoints`: where a tenant wants to be told of what became of its jobs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Request

from gateway.api.fields.checks import flag, listed, missing, one_of, text
from gateway.api.fine_tuning.documents import page_document
from gateway.api.tenants import body_of, may_train, whole_number
from gateway.errors import BadRequest
from gateway.house import House
from gateway.told import told
from gateway.training.faults import FAULTS, said_of
from gateway.webhooks.addresses import refuse_undeliverable
from gateway.webhooks.sender import Undelivered, send_once
from registry.ids import new_id
from registry.webhooks.endpoints import EVENT_TYPES, MOST_NAME_CHARS, MOST_URL_CHARS, WebhookEndpoint
from registry.webhooks.outbox import event_body

LISTED, MOST_LISTED = 20, 100
FIELDS = frozenset({"name", "url", "event_types"})
KEEP = "keep_old_secret_active_for_24_hours"
SAMPLE_JOB = "ftjob-sample"


def webhooks_router(house: House) -> APIRouter:
    """The routes, in OpenAI's shapes. Another tenant's address is none."""
    router = APIRouter(prefix="/v1", tags=["webhooks"])
    _add_reading(router, house)
    _add_writing(router, house)
    _add_test(router, house)
    return router


def _add_reading(router: APIRouter, house: House) -> None:
    workshop = house.workshop

    @router.get("/webhook_event_types")
    async def list_event_types(request: Request) -> dict[str, Any]:
        """What there is to be told of."""
        may_train(house, request)
        return {"object": "list", "data": list(EVENT_TYPES)}

    @router.get("/webhook_endpoints")
    async def list_endpoints(request: Request) -> dict[str, Any]:
        """Addresses, the oldest first."""
        principal = may_train(house, request)
        limit = whole_number(request, "limit", LISTED, MOST_LISTED)
        after = request.query_params.get("after")
        work = partial(workshop.webhooks.page, principal.tenant, after, limit + 1)
        page = page_document(await workshop.do(principal.tenant, work), limit, _document)
        ids = [one["id"] for one in page["data"]]
        return {**page, "first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}

    @router.get("/webhook_endpoints/{endpoint_id}")
    async def retrieve_endpoint(endpoint_id: str, request: Request) -> dict[str, Any]:
        """One address, with what went wrong there last."""
        principal = may_train(house, request)
        work = partial(workshop.webhooks.get, principal.tenant, endpoint_id)
        return _document(await workshop.do(principal.tenant, work))


def _add_writing(router: APIRouter, house: House) -> None:
    workshop = house.workshop

    @router.post("/webhook_endpoints")
    async def create_endpoint(request: Request) -> dict[str, Any]:
        """Add an address; its secret is seen only in this answer."""
        principal = may_train(house, request)
        body = await body_of(house, principal, request, FIELDS)
        for name in sorted(FIELDS):
            if body.get(name) is None:
                raise missing(name)
        work = partial(workshop.webhooks.create, principal.tenant, **_fields(house, body))
        endpoint, secret = await workshop.do(principal.tenant, work)
        return {**_document(endpoint), "signing_secret": secret}

    @router.post("/webhook_endpoints/{endpoint_id}")
    async def update_endpoint(endpoint_id: str, request: Request) -> dict[str, Any]:
        """Change its name, its URL or what it is told of."""
        principal = may_train(house, request)
        fields = _fields(house, await body_of(house, principal, request, FIELDS))
        work = partial(workshop.webhooks.change, principal.tenant, endpoint_id, **fields)
        return _document(await workshop.do(principal.tenant, work))

    @router.post("/webhook_endpoints/{endpoint_id}/rotate_secret")
    async def rotate_secret(endpoint_id: str, request: Request) -> dict[str, Any]:
        """Give it a new secret, which is seen only in this answer; the old one may sign too for a day."""
        principal = may_train(house, request)
        is_empty = request.headers.get("content-length", "0") == "0"
        body = {} if is_empty else await body_of(house, principal, request, {KEEP})
        keeps = body.get(KEEP) is not None and flag(body[KEEP], KEEP, house.caps)
        work = partial(workshop.webhooks.rotate, principal.tenant, endpoint_id, keep_old_for_a_day=keeps)
        endpoint, secret = await workshop.do(principal.tenant, work)
        return {**_document(endpoint), "signing_secret": secret}

    @router.delete("/webhook_endpoints/{endpoint_id}")
    async def delete_endpoint(endpoint_id: str, request: Request) -> dict[str, Any]:
        """Delete it with what it is still to be told."""
        principal = may_train(house, request)
        await workshop.do(principal.tenant, partial(workshop.webhooks.delete, principal.tenant, endpoint_id))
        return {"id": endpoint_id, "object": "webhook_endpoint.deleted", "deleted": True}


def _add_test(router: APIRouter, house: House) -> None:
    workshop = house.workshop

    @router.post("/webhook_endpoints/{endpoint_id}/test")
    async def test_endpoint(endpoint_id: str, request: Request) -> dict[str, Any]:
        """Send a sample of an event now, and say what was answered."""
        principal = may_train(house, request)
        tenant = principal.tenant
        body = await body_of(house, principal, request, {"event_type"})
        kind = one_of(*EVENT_TYPES)(body.get("event_type"), "event_type", house.caps)
        endpoint = await workshop.do(tenant, partial(workshop.webhooks.get, tenant, endpoint_id))
        secret = await workshop.do(tenant, partial(workshop.webhooks.secret_of, tenant, endpoint_id))
        event_id = new_id("evt")
        sample = event_body(event_id, int(time.time()) * 1000, kind, {"id": SAMPLE_JOB})
        send = partial(send_once, workshop.destinations, endpoint.url, event_id, sample, secret)
        try:
            status = await workshop.samples.do(tenant, send)
        except Undelivered as error:
            raise BadRequest(
                f"Nothing was delivered to the endpoint: {error}.", param="url", code="webhook_not_delivered"
            ) from None
        return {
            "object": "webhook_endpoint.test",
            "webhook_endpoint_id": endpoint_id,
            "event_type": kind,
            "status_code": status,
            "success": True,
        }


def _fields(house: House, body: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are given; what they may be is the registry's to say."""
    found: dict[str, Any] = {}
    for name, most in (("name", MOST_NAME_CHARS), ("url", MOST_URL_CHARS)):
        if body.get(name) is not None:
            found[name] = text(most, least_chars=1)(body[name], name, house.caps)
    if "url" in found:
        with told(FAULTS, said_of):
            refuse_undeliverable(found["url"], house.workshop.destinations.networks)
    if body.get("event_types") is not None:
        kinds = listed(body["event_types"], "event_types", "event types", 64)
        found["event_types"] = [text(64)(kind, f"event_types[{at}]", house.caps) for at, kind in enumerate(kinds)]
    return found


def _document(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """In OpenAI's shape; how the last delivery went is in `switchyard`."""
    tried = endpoint.tried_at_ms
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "created_at": endpoint.created_at_ms // 1000,
        "updated_at": endpoint.updated_at_ms // 1000,
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": list(endpoint.event_types),
        "signing_secret_hint": endpoint.hint,
        "switchyard": {"tried_at": None if tried is None else tried // 1000, "fault": endpoint.fault},
    }
