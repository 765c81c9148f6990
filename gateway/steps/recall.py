"""What came before a request: the turns that it goes on from are read from the registry, and put before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from gateway.api.fields.caps import Caps
from gateway.desk import LARGE_BYTES, Desk
from gateway.errors import BadRequest
from gateway.handoffs import InferenceRequest, Principal
from gateway.keeping import Item, Keeping
from gateway.responses.archive import Archive
from gateway.responses.faults import FAULTS, PREVIOUS, said_of
from gateway.sealed_request import sealed
from registry.responses.turns import NoSuchTurn, Recalled, require_possible

NOWHERE = (None, None)
"""Of a request that begins anew: the response and the conversation that it goes on from."""


class Means(Protocol):
    """What is needed of the running gateway."""

    @property
    def archive(self) -> Archive:
        """Where earlier turns are."""

    @property
    def desk(self) -> Desk:
        """Where what takes long about large bodies is done."""

    @property
    def caps(self) -> Caps:
        """How much a prompt may be."""


async def recall(means: Means, principal: Principal, request: InferenceRequest, keeping: Keeping) -> InferenceRequest:
    """The request as it is asked, and what is really kept of its answer: nothing for a tenant who keeps nothing.

    Raises `BadRequest` or `NotThere` for what it cannot go on from, `NotStored` when nothing can be stored now, and
    `QuotaExceeded` when the tenant has stored as much as it may.
    """
    archive = means.archive
    store = keeping.store and archive.days(principal) > 0
    if store:
        archive.writer.look()
    elif keeping.background:
        raise BadRequest(
            "'background' needs 'store': true, and a tenant whose responses are kept: they are read from there.",
            param="background",
            code="invalid_value",
        )
    most_bytes = means.caps.max_body_bytes
    if keeping.seals_thoughts or keeping.carries_thoughts:
        keeping, request = await _with_thoughts(means, principal, keeping, request)
    try:
        if store and not archive.quota.has_room(principal):
            await archive.quota.look(principal)
        going_on = keeping.previous_id, keeping.conversation_id
        if going_on == NOWHERE and not (keeping.referred or keeping.carries_thoughts):
            return request if store == keeping.store else request._replace(keeping=keeping._replace(store=store))
        read = _reading(archive, principal, keeping, most_bytes)
        work = partial(_read, archive, principal, keeping, read, most_bytes)
        recalled, referred = await archive.lookups.do(principal.tenant, work)
    except FAULTS as error:
        raise said_of(error, _param_of(error, keeping)) from error
    length = request.body_bytes + recalled.bytes
    keeping = keeping._replace(store=store, unit=recalled.unit)
    request = request._replace(keeping=keeping, body_bytes=length)
    return await means.desk.do(
        principal.tenant, length, partial(_continued, request, keeping, recalled.items, referred)
    )


def _continued(
    request: InferenceRequest, keeping: Keeping, earlier: Sequence[Item], referred: Mapping[Any, Item]
) -> InferenceRequest:
    """The request behind earlier items, with what is referred to in the place of what refers to it."""
    if referred:
        items = [referred.get(item.get("id"), item) for item in keeping.items]
        request = request._replace(keeping=keeping._replace(items=items))
    request = request.dialect.continued(request._replace(opening=None), earlier)
    return sealed(request) if request.body_bytes >= LARGE_BYTES else request


async def _with_thoughts(
    means: Means, principal: Principal, keeping: Keeping, request: InferenceRequest
) -> tuple[Keeping, InferenceRequest]:
    """With those of its input open, and the means to seal the answer's. Raises `BadRequest`."""
    thoughts, tenant, items, length = means.archive.thoughts, principal.tenant, keeping.items, request.body_bytes
    if keeping.carries_thoughts:
        work = partial(thoughts.opened, tenant, items, means.caps.max_body_bytes)
        items, more = await means.desk.do(tenant, length, work)
        length += more
    seal = partial(thoughts.seal, tenant) if keeping.seals_thoughts else None
    keeping = keeping._replace(items=items, seal=seal)
    return keeping, request._replace(keeping=keeping, body_bytes=length)


def _param_of(error: Exception, keeping: Keeping) -> str:
    """The field that named what is not there, or too long."""
    if (isinstance(error, NoSuchTurn) and error.kind == "item") or not (keeping.previous_id or keeping.conversation_id):
        return "input"
    return PREVIOUS if keeping.previous_id is not None else "conversation"


def _read(
    archive: Archive,
    principal: Principal,
    keeping: Keeping,
    earlier: Callable[[], Recalled] | None,
    most_bytes: int,
) -> tuple[Recalled, Mapping[Any, Item]]:
    """What came before, with the bytes of all that was read; and the items that are referred to, by id."""
    recalled = earlier() if earlier is not None else Recalled([], 0, None)
    if not keeping.referred:
        return recalled, {}
    left = most_bytes - recalled.bytes
    referred = archive.responses.referred(principal.tenant, keeping.referred, archive.since_ms(principal), left)
    items = dict(zip(keeping.referred, referred.items, strict=True))
    return replace(recalled, bytes=recalled.bytes + referred.bytes), items


def _reading(
    archive: Archive, principal: Principal, keeping: Keeping, most_bytes: int
) -> Callable[[], Recalled] | None:
    """How that is read which the request goes on from; `None`: it begins anew. Raises `NoSuchTurn`."""
    tenant = principal.tenant
    if (previous := keeping.previous_id) is not None:
        require_possible("response", previous)
        return partial(archive.responses.recall, tenant, previous, archive.since_ms(principal), most_bytes)
    if (conversation := keeping.conversation_id) is not None:
        require_possible("conversation", conversation)
        return partial(archive.conversations.recall, tenant, conversation, archive.since_ms(principal), most_bytes)
    return None
