"""From the bytes of a body to a checked request: small bodies at once, large ones beside the event loop."""

from __future__ import annotations

from functools import partial

from gateway.api.fields.caps import Caps
from gateway.desk import Desk
from gateway.handoffs import Dialect, InferenceRequest, Principal


async def parse(desk: Desk, principal: Principal, dialect: Dialect, body: bytes, caps: Caps) -> InferenceRequest:
    """The checked request. Raises what `Dialect.parse` raises."""
    work = partial(dialect.parse, body, caps=caps, allow_unknown=principal.allow_unknown_fields)
    return await desk.do(principal.tenant, len(body), work)
