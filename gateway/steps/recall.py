"""What came before a request: the turns that it goes on from are read from the registry, and put before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

from gateway.api.fields.caps import Caps
from gateway.desk import Desk
from gateway.errors import BadRequest
from gateway.handoffs import InferenceRequest, Principal
from gateway.keeping import Keeping
from gateway.responses.archive import Archive
from gateway.responses.faults import FAULTS, PREVIOUS, said_of
from registry.responses.turns import Recalled, require_possible


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

    Raises `BadRequest` or `NotThere` for what it cannot go on from, and `NotStored` when nothing can be stored now.
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
    param = PREVIOUS if keeping.previous_id is not None else "conversation"
    try:
        read = _reading(archive, principal, keeping, means.caps.max_body_bytes)
        if read is None:
            return request if store == keeping.store else replace(request, keeping=replace(keeping, store=store))
        recalled = await archive.lookups.do(principal.tenant, read)
    except FAULTS as error:
        raise said_of(error, param) from error
    length = request.body_bytes + recalled.bytes
    continued = await means.desk.do(
        principal.tenant, length, partial(request.dialect.continued, request, recalled.items)
    )
    return replace(continued, body_bytes=length, keeping=replace(keeping, store=store, unit=recalled.unit))


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
