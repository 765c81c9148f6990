"""`/v1/conversations`: conversations that a tenant keeps, and their items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, TypeVar, cast

from fastapi import APIRouter, Request, Response

from gateway.api.dialects.responses.input import items as checked_items
from gateway.api.dialects.responses.kept import REFERENCE, kept_alone
from gateway.api.fields.checks import listed, missing, pairs
from gateway.api.held import json_of
from gateway.api.responses import LISTED, MOST_LISTED, check_include, list_of
from gateway.api.tenants import about, body_of, in_turn, may_store, one_in_query, who_asks, whole_number
from gateway.errors import BadRequest
from gateway.handoffs import Principal
from gateway.house import House
from gateway.keeping import Item
from registry.responses.conversations import ConversationInfo

T = TypeVar("T")
MOST_ADDED = 20
"""Items that one request adds, as OpenAI has it."""


def conversations_router(house: House) -> APIRouter:
    """The routes, in OpenAI's shapes. Another tenant's conversation is none."""
    router = APIRouter(prefix="/v1/conversations", tags=["responses"])
    _add_conversations(router, house)
    _add_items(router, house)
    return router


def _add_conversations(router: APIRouter, house: House) -> None:
    conversations = house.archive.conversations

    @router.post("")
    async def create_conversation(request: Request) -> dict[str, Any]:
        """Begin a conversation, with up to 20 items."""
        principal = who_asks(house, request)
        body = await body_of(house, principal, request, {"items", "metadata"})
        if house.archive.days(principal) == 0:
            raise BadRequest(
                "Nothing is kept for this tenant, so it can have no conversations. Send the whole conversation as "
                "'input' of each response.",
                code="not_kept",
            )
        await may_store(house, principal)
        items = _items(house, body["items"]) if body.get("items") else []
        work = partial(conversations.create, principal.tenant, items, _metadata(house, body))
        return _document(await in_turn(house, principal, work))

    @router.get("/{conversation_id}")
    async def retrieve_conversation(conversation_id: str, request: Request) -> dict[str, Any]:
        """A conversation without its items."""
        principal = who_asks(house, request)
        return _document(await _about(house, principal, conversation_id, conversations.get))

    @router.post("/{conversation_id}")
    async def update_conversation(conversation_id: str, request: Request) -> dict[str, Any]:
        """Replace its metadata."""
        principal = who_asks(house, request)
        body = await body_of(house, principal, request, {"metadata"})
        metadata = _metadata(house, body)
        return _document(await _about(house, principal, conversation_id, conversations.set_metadata, metadata))

    @router.delete("/{conversation_id}")
    async def delete_conversation(conversation_id: str, request: Request) -> dict[str, Any]:
        """Delete it with its items; responses that were made in it stay."""
        principal = who_asks(house, request)
        await _about(house, principal, conversation_id, conversations.delete)
        return {"id": conversation_id, "object": "conversation.deleted", "deleted": True}


def _add_items(router: APIRouter, house: House) -> None:
    conversations = house.archive.conversations

    @router.post("/{conversation_id}/items")
    async def create_items(conversation_id: str, request: Request) -> Response:
        """Add up to 20 items at the end."""
        principal = who_asks(house, request)
        house.admission.documents.look(principal.tenant)  # not refused when it is done
        check_include(house, request)
        body = await body_of(house, principal, request, {"items"})
        if body.get("items") is None:
            raise missing("items")
        await may_store(house, principal)
        items = _items(house, body["items"])
        return list_of(
            house, principal, await _about(house, principal, conversation_id, conversations.add, items), has_more=False
        )

    @router.get("/{conversation_id}/items")
    async def list_items(conversation_id: str, request: Request) -> Response:
        """Items, the newest first unless `order` says otherwise."""
        principal = who_asks(house, request)
        check_include(house, request)
        limit = whole_number(request, "limit", LISTED, MOST_LISTED)
        order = cast('Literal["asc", "desc"]', one_in_query(request, "order", "desc", "asc"))
        after = request.query_params.get("after")
        page = await _about(house, principal, conversation_id, conversations.page, after, limit, order)
        return list_of(house, principal, page.items, has_more=page.has_more)

    @router.get("/{conversation_id}/items/{item_id}")
    async def retrieve_item(conversation_id: str, item_id: str, request: Request) -> Response:
        """One item."""
        principal = who_asks(house, request)
        check_include(house, request)
        return json_of(house, principal, await _about(house, principal, conversation_id, conversations.item, item_id))

    @router.delete("/{conversation_id}/items/{item_id}")
    async def delete_item(conversation_id: str, item_id: str, request: Request) -> dict[str, Any]:
        """Delete one item; the answer is its conversation."""
        principal = who_asks(house, request)
        return _document(await _about(house, principal, conversation_id, conversations.delete_item, item_id))


async def _about(house: House, principal: Principal, id_: str, ask: Callable[..., T], *more: Any) -> T:
    return await about(house, principal, "conversation", id_, ask, *more)


def _metadata(house: House, body: Mapping[str, Any]) -> Mapping[str, str]:
    given = body.get("metadata")
    return {} if given is None else pairs(given, "metadata", house.caps)


def _items(house: House, given: Any) -> list[Item]:
    """The checked items. Raises `BadRequest`."""
    checked = checked_items(listed(given, "items", "items", MOST_ADDED), "items", house.caps)
    if any(item["type"] == REFERENCE for item in checked):
        raise BadRequest(
            "An item of another place cannot be put here by its id. Send the item itself.",
            param="items",
            code="unsupported_value",
        )
    return [kept_alone(item) for item in checked]


def _document(info: ConversationInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "object": "conversation",
        "created_at": info.created_at_ms // 1000,
        "metadata": info.metadata,
    }
