"""Documents that may be megabytes, read as slowly as a client likes: they go out in pieces, by turns of tenants."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Response

from gateway.api.asgi import Receive, Send
from gateway.handoffs import Principal
from gateway.house import House

JSON = "application/json"
PIECE_BYTES = 1 << 16
"""The server takes the next one when the client has read most of those before."""


async def send_pieces(house: House, tenant: str, body: bytes, send: Send) -> None:
    """A part of an answer. In each turn of the event loop one piece is sent on all connections of a tenant: who is sent
    much at once waits for it alone, and nobody else for more than a piece.
    """
    view = memoryview(body)
    for begin in range(0, len(view), PIECE_BYTES):
        await house.door.turns.take(tenant)
        await send({"type": "http.response.body", "body": view[begin : begin + PIECE_BYTES], "more_body": True})


class SharedDocument(Response):
    """JSON whose bytes many connections may wait for: none has a copy."""

    def __init__(self, house: House, principal: Principal, document: bytes) -> None:
        super().__init__(document, media_type=JSON)
        self._house = house
        self._tenant = principal.tenant

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Send it in pieces."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send_pieces(self._house, self._tenant, bytes(self.body), send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class HeldDocument(SharedDocument):
    """JSON that keeps one of its tenant's places for documents until its client has read it, so that slow ones take no
    more memory than the places are. Raises `RateLimited` or `Overloaded` when there is none.
    """

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Send it in pieces."""
        with self._house.admission.documents.place(self._tenant):
            await super().__call__(scope, receive, send)


def json_of(house: House, principal: Principal, value: Any) -> HeldDocument:
    """What may be megabytes: FastAPI's own way takes many times as long, while everybody waits."""
    return HeldDocument(house, principal, orjson.dumps(value))
