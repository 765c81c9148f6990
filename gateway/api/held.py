"""Documents of what is kept of a tenant: they may be megabytes, and nobody says how fast they are read."""

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


class HeldDocument(Response):
    """JSON that keeps one of its tenant's places for documents until its client has read it, so that slow ones take no
    more memory than the places are. Raises `RateLimited` or `Overloaded` when there is none.
    """

    def __init__(self, house: House, principal: Principal, document: bytes) -> None:
        super().__init__(document, media_type=JSON)
        self._places = house.admission.documents
        self._tenant = principal.tenant

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Send it in pieces."""
        body = memoryview(self.body)
        with self._places.place(self._tenant):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for begin in range(0, len(body), PIECE_BYTES):
                piece = bytes(body[begin : begin + PIECE_BYTES])
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def json_of(house: House, principal: Principal, value: Any) -> HeldDocument:
    """What may be megabytes: FastAPI's own way takes many times as long, while everybody waits."""
    return HeldDocument(house, principal, orjson.dumps(value))
