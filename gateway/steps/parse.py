"""From the bytes of a body to a checked request: small bodies at once, large ones beside the event loop."""

from __future__ import annotations

from functools import partial

from gateway.api.fields.caps import Caps
from gateway.api.request import parse_request
from gateway.desk import Desk
from gateway.handoffs import Endpoint, InferenceRequest, Principal


async def parse(desk: Desk, principal: Principal, endpoint: Endpoint, body: bytes, caps: Caps) -> InferenceRequest:
    """The checked request. Raises what `parse_request` raises."""
    work = partial(parse_request, endpoint, body, caps=caps, allow_unknown=principal.allow_unknown_fields)
    return await desk.do(principal.tenant, len(body), work)
