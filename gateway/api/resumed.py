"""The stream of a background response that is taken up again: what has gone out of it, and then what comes."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from typing import Any

import orjson
from fastapi import Request, Response

from gateway.api.asgi import ON_DISCONNECT, Receive, Send
from gateway.api.dialects.responses.output import Events
from gateway.api.dialects.responses.reader import error_event
from gateway.api.held import send_pieces
from gateway.api.respond import OF_STREAMS, PING, SSE
from gateway.api.tenants import about, who_asks
from gateway.errors import ApiError, BadRequest
from gateway.house import House
from gateway.responses.faults import not_wanted
from gateway.responses.writer import AGAIN_S
from registry.responses.streams import Streamed
from registry.responses.turns import ANSWERED, RUNNING

LOOK_S = 0.5
"""As often as whoever makes the response writes its events down."""
GRACE_S = 2 * AGAIN_S + 2
"""From when a response is seen to have ended until its last events must have been written down: its writer may have to
try twice more.
"""


def starting_after(request: Request) -> int | None:
    """The number of the last event that a client has. Raises `BadRequest`."""
    name = "starting_after"
    if (given := request.query_params.get(name)) is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        raise BadRequest(
            f"'{name}' must be the 'sequence_number' of an event, a whole number from 0 on, not '{given[:40]}'.",
            param=name,
            code="invalid_value",
        )
    return int(given)


async def resumed(house: House, request: Request, response_id: str, wanted: int) -> ResumedStream:
    """The stream of one of the tenant's responses, from the event of this number on. Raises `ApiError`."""
    look = _Look(house, request, response_id)
    return ResumedStream(look, await look.at(wanted))


class _Look:
    """Who looks at the stream of one response."""

    def __init__(self, house: House, request: Request, response_id: str) -> None:
        self.house = house
        self._request = request
        self._id = response_id
        self.tenant = who_asks(house, request).tenant

    async def at(self, wanted: int) -> Streamed:
        """What is there of the stream now, if its key is still good. Raises `ApiError`."""
        house = self.house
        principal = who_asks(house, self._request)
        return await about(house, principal, "response", self._id, house.archive.streams.read, wanted)

    async def end(self, number: int) -> bytes:
        """The end of a stream of which nobody has written it down, made of the response itself."""
        house = self.house
        principal = who_asks(house, self._request)
        document = await about(house, principal, "response", self._id, house.archive.responses.document)
        response = orjson.loads(document)
        status, events = response["status"], Events(number)
        kind = b"response.%b" % (status if status in ANSWERED else "failed").encode()
        told = events.event(kind, b'"response":%b' % document)
        return told if status in ANSWERED else told + error_event(_why(response), events)


class ResumedStream(Response):
    """Server-sent events. It keeps one of its tenant's places for as long as it is open. Raises `RateLimited` or
    `Overloaded` when there is none.
    """

    def __init__(self, look: _Look, first: Streamed) -> None:
        super().__init__()
        self._look = look
        self._first = first

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Tell them until the last, or until the client goes."""
        look, gone = self._look, asyncio.Event()
        with look.house.admission.resumed.place(look.tenant):
            on_disconnect = scope["extensions"][ON_DISCONNECT]
            on_disconnect(gone.set)
            try:
                head = [(b"content-type", SSE), *OF_STREAMS]
                await send({"type": "http.response.start", "status": 200, "headers": head})
                await self._tell(send, gone)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                on_disconnect(None)

    async def _tell(self, send: Send, gone: asyncio.Event) -> None:
        look, seen = self._look, self._first
        del self._first  # which may be long, and the stream may too
        house, ping_s = look.house, look.house.settings.stream_ping_s
        spoke_s = time.monotonic()
        ends_s = math.inf
        while not gone.is_set():
            if seen.events:
                await send_pieces(house, look.tenant, seen.events, send)
                spoke_s = time.monotonic()
            elif ping_s and time.monotonic() - spoke_s >= ping_s:
                await send({"type": "http.response.body", "body": PING, "more_body": True})
                spoke_s = time.monotonic()
            if seen.ended:
                return
            now_s = time.monotonic()  # its client may have read for long
            ends_s = math.inf if seen.events or seen.status in RUNNING else min(ends_s, now_s + GRACE_S)
            try:
                if now_s >= ends_s:
                    await send_pieces(house, look.tenant, await look.end(seen.next), send)
                    return
                if not seen.events:
                    await _pause(gone)
                seen = await look.at(seen.next)
            except ApiError as error:  # its number is that of the last event, after which the client may go on
                said = error_event(error, Events(max(0, seen.next - 1)))
                await send({"type": "http.response.body", "body": said, "more_body": True})
                return


def _why(response: dict[str, Any]) -> ApiError:
    """Why a response has no answer."""
    if (error := response["error"]) is None:
        return not_wanted()
    return ApiError(error["message"], code=error["code"])


async def _pause(gone: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_S):
            await gone.wait()
