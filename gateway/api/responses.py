"""`/v1/responses/{id}` and what is below it: what is kept of a tenant's responses. `gateway.path` makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from gateway.api.dialects.responses.options import include
from gateway.api.held import HeldDocument, json_of
from gateway.api.resumed import resumed, starting_after
from gateway.api.tenants import about, one_in_query, who_asks, whole_number
from gateway.errors import BadRequest
from gateway.handoffs import Principal
from gateway.house import House
from gateway.keeping import Item

MOST_LISTED, LISTED = 100, 20
"""Items in one answer: at most, and unless something is asked."""


def responses_router(house: House) -> APIRouter:
    """The routes, in OpenAI's shapes. Another tenant's response is none, for the same work and with the same words."""
    router = APIRouter(prefix="/v1/responses", tags=["responses"])
    responses = house.archive.responses

    @router.get("/{response_id}")
    async def retrieve_response(response_id: str, request: Request) -> Response:
        """A response as it was answered, or as far as it is; or the stream of one that is made in the background."""
        principal = who_asks(house, request)
        check_include(house, request)
        after = starting_after(request)
        if request.query_params.get("stream", "false").lower() not in ("false", "0"):
            return await resumed(house, request, response_id, 0 if after is None else after + 1)
        if after is not None:
            raise BadRequest("'starting_after' is of a stream: send 'stream=true' too.", param="starting_after")
        return HeldDocument(
            house, principal, await about(house, principal, "response", response_id, responses.document)
        )

    @router.delete("/{response_id}")
    async def delete_response(response_id: str, request: Request) -> dict[str, Any]:
        """Delete a response; one that is being made ends."""
        principal = who_asks(house, request)
        await about(house, principal, "response", response_id, responses.delete)
        return {"id": response_id, "object": "response", "deleted": True}

    @router.post("/{response_id}/cancel")
    async def cancel_response(response_id: str, request: Request) -> Response:
        """End a response that is made in the background."""
        principal = who_asks(house, request)
        house.admission.documents.look(principal.tenant)  # not refused when it is done
        return HeldDocument(house, principal, await about(house, principal, "response", response_id, responses.cancel))

    @router.get("/{response_id}/input_items")
    async def list_input_items(response_id: str, request: Request) -> Response:
        """What a response was the answer to, without what came before it."""
        principal = who_asks(house, request)
        check_include(house, request)
        limit = whole_number(request, "limit", LISTED, MOST_LISTED)
        order = one_in_query(request, "order", "desc", "asc")
        items = await about(house, principal, "response", response_id, responses.items)
        if order == "desc":
            items = items[::-1]
        page = _after(items, request.query_params.get("after"))
        return list_of(house, principal, page[:limit], has_more=len(page) > limit)

    return router


def check_include(house: House, request: Request) -> None:
    """What is asked for beside the usual: all of it is there if it was when the response was made. Raises
    `BadRequest` for what nobody knows.
    """
    asked = [*request.query_params.getlist("include[]"), *request.query_params.getlist("include")]
    include(asked, "include", house.caps)


def list_of(house: House, principal: Principal, items: Sequence[Item], *, has_more: bool) -> Response:
    """A page in OpenAI's shape."""
    ids = [item["id"] for item in items]
    ends = {"first_id": ids[0] if ids else "", "last_id": ids[-1] if ids else ""}
    return json_of(house, principal, {"object": "list", "data": items, **ends, "has_more": has_more})


def _after(items: list[Item], last: str | None) -> list[Item]:
    if last is None:
        return items
    for number, item in enumerate(items):
        if item["id"] == last:
            return items[number + 1 :]
    raise BadRequest(
        f"'after' is '{last[:80]}', and this response has no such item.", param="after", code="invalid_value"
    )
