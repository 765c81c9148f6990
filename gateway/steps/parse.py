"""From the bytes of a body to a checked request, and the bytes of that again while it waits for an engine: small bodies
at once, large ones beside the event loop, in another process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gateway.api.fields.caps import Caps
from gateway.api.fields.faults import SeveralFaults
from gateway.bytes_in_flight import HeldBytes
from gateway.desk import LARGE_BYTES, Desk
from gateway.errors import ApiError
from gateway.handoffs import Call, InferenceRequest, Principal
from gateway.sealed_request import held_bytes, is_sealed, sealed
from gateway.splits.units import opening_of


async def parse(
    desk: Desk, principal: Principal, call: Call, body: bytes, caps: Caps, held: HeldBytes
) -> InferenceRequest:
    """The checked request; of a large body sealed, and counted as that. Raises what `Dialect.parse` and
    `HeldBytes.asked` raise.
    """
    allow_unknown = principal.allow_unknown_fields
    work = partial(call.dialect.parse, body, caps=caps, allow_unknown=allow_unknown, model=call.model)
    if len(body) < LARGE_BYTES:  # it is sealed before anything is waited for, as a rule
        return _parsed(work)
    request = await desk.ask(principal.tenant, len(body), partial(_sealed, work))
    held.asked(held_bytes(request))
    return request


def _parsed(parse: Callable[[], InferenceRequest]) -> InferenceRequest:
    """The checked request. What is raised has nothing of the body with it: frames of a traceback have it, in rings that
    wait for the garbage collector.
    """
    try:
        return parse()
    except ApiError as error:
        for one in (error, *(error.faults if isinstance(error, SeveralFaults) else ())):
            one.let_go()
        raise error from None


def _sealed(parse: Callable[[], InferenceRequest]) -> InferenceRequest:
    request = _parsed(parse)
    return sealed(request._replace(opening=opening_of(request)))


async def seal(desk: Desk, principal: Principal, request: InferenceRequest, held: HeldBytes) -> InferenceRequest:
    """The same request with its long body as bytes, which alone are counted from now on. Raises `RateLimited` or
    `Overloaded` where earlier turns have made it longer than there is room.
    """
    if not is_sealed(request):
        request = await desk.do(principal.tenant, request.body_bytes, partial(sealed, request))
    held.asked(held_bytes(request))
    return request
