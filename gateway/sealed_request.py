"""A checked request whose long fields are bytes."""

from __future__ import annotations

from typing import Any

from gateway.handoffs import InferenceRequest
from gateway.sealed_body import SEALED_FROM, SealedBody, SealedItems


def sealed(request: InferenceRequest) -> InferenceRequest:
    """The same request, with what is long in it as bytes; one of a short body as it is."""
    if request.body_bytes < SEALED_FROM:
        return request
    keeping = request.keeping
    if keeping is not None and not isinstance(keeping.items, SealedItems):
        keeping = keeping._replace(items=SealedItems(keeping.items))
    return request._replace(body=SealedBody.of(request.body), keeping=keeping)


def is_sealed(request: InferenceRequest) -> bool:
    """Whether there is nothing left to seal."""
    items = None if request.keeping is None else request.keeping.items
    return isinstance(request.body, SealedBody) and (items is None or isinstance(items, SealedItems))


def held_bytes(request: InferenceRequest) -> int:
    """How much a sealed request holds."""
    held = len(request.echo)
    if isinstance(body := request.body, SealedBody):
        held += body.held_bytes()
    if (keeping := request.keeping) is not None and isinstance(items := keeping.items, SealedItems):
        held += items.held_bytes()
    return held


def with_fields(request: InferenceRequest, **fields: Any) -> InferenceRequest:
    """The same request with other short fields in its body."""
    body = request.body
    changed = body.with_fields(fields) if isinstance(body, SealedBody) else {**body, **fields}
    return request._replace(body=changed)


def says(request: InferenceRequest, field: str) -> bool:
    """Whether a field of its body is there, and not empty: as what is sealed never is."""
    body = request.body
    if isinstance(body, SealedBody) and field not in body.short:
        return field in body
    return bool(body.get(field))
