"""`/v1/feedback`: what a tenant's application, or its users, say of answers."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request

from gateway.api.fine_tuning.documents import page_document
from gateway.api.held import HeldDocument, json_of
from gateway.api.tenants import body_of, of_whole_tenant, who_asks, whole_number
from gateway.errors import MissingScope
from gateway.feedback.body import FIELDS, KEY_HEADER, SEVERAL, pieces_of
from gateway.handoffs import Principal
from gateway.house import House
from gateway.steps.resolve import resolve
from registry.catalog.snapshot import Catalog
from registry.outcomes.said import TakenFeedback

SCOPE = "inference"
LISTED, MOST_LISTED = 20, 100


def feedback_router(house: House) -> APIRouter:
    """The two routes. Another tenant's answers and feedback are none."""
    router = APIRouter(prefix="/v1/feedback", tags=["feedback"])

    @router.post("")
    async def give_feedback(request: Request) -> Any:
        """Say something of an answer, or of a unit: one piece, or up to 100 as `feedback`, which are stored all or
        none. The same with the same `idempotency_key` is stored once.
        """
        principal = _may_say(house, request)
        body = await body_of(house, principal, request, FIELDS | {SEVERAL})
        pieces = pieces_of(body, request.headers.get(KEY_HEADER), house.caps)
        target_of = partial(resolve, principal, catalog=house.catalog.current)
        known = partial(_is_for, principal, house.catalog.current)
        taken = [_document(one) for one in await house.feedback.give(principal, pieces, target_of, known)]
        return {"object": "list", "data": taken} if SEVERAL in body else taken[0]

    @router.get("")
    async def list_feedback(request: Request) -> HeldDocument:
        """What this tenant has said, the newest first; of one `metric` or one `request_id` alone, if that is named."""
        principal = of_whole_tenant(_may_say(house, request), "The list of feedback")
        limit = whole_number(request, "limit", LISTED, MOST_LISTED)
        query = request.query_params
        which = {name: query[name] for name in ("metric", "request_id") if name in query}
        ask = partial(house.feedback.outcomes.feedback, principal.tenant, query.get("after"), limit + 1, **which)
        page = page_document(await house.feedback.do(principal.tenant, ask), limit, _document)
        return json_of(house, principal, page)

    return router


def _may_say(house: House, request: Request) -> Principal:
    """Who asks, if the key may call models. Raises `Unauthenticated`, `MissingScope`."""
    principal = who_asks(house, request)
    if SCOPE not in principal.scopes:
        raise MissingScope("This key may give no feedback", SCOPE)
    return principal


def _is_for(principal: Principal, catalog: Catalog, adapter_id: int | None) -> bool:
    """Whether the key is for the adapter that an answer came from; what no adapter has made is anybody's."""
    if principal.adapters is None or adapter_id is None:
        return True
    entries = (catalog.adapters.get((principal.tenant, name)) for name in principal.adapters)
    return any(
        version.adapter_id == adapter_id
        for entry in entries
        if entry is not None
        for version in entry.versions.values()
    )


def _document(one: TakenFeedback) -> dict[str, Any]:
    said = one.said
    value: Any = said.label if said.kind == "label" else said.value
    return {
        "id": one.id,
        "object": "feedback",
        "created_at": one.at_ms // 1000,
        "request_id": one.request_id,
        "unit_hash": one.unit_hash,
        "arm": one.arm,
        "metric": said.metric,
        "value": bool(value) if said.kind == "boolean" else value,
        "comment": said.comment,
        "replayed": one.replayed,
    }
