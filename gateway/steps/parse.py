"""From the bytes of a body to a checked request: small bodies at once, large ones beside the event loop."""

from __future__ import annotations

from functools import partial

from gateway.api.fields.caps import Caps
from gateway.desk import Desk
from gateway.handoffs import Call, InferenceRequest, Principal


async def parse(desk: Desk, principal: Principal, call: Call, body: bytes, caps: Caps) -> InferenceRequest:
    """The checked request. Raises what `Dialect.parse` raises."""
    allow_unknown = principal.allow_unknown_fields
    work = partial(call.dialect.parse, body, caps=caps, allow_unknown=allow_unknown, model=call.model)
    return await desk.do(principal.tenant, len(body), work)
