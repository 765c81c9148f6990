"""Raw ASGI in small pieces: read a request, send an answer, notice that the client has gone."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = b"application/json"
STREAM = b"text/event-stream; charset=utf-8"


class ClientGone(Exception):
    """The client closed its socket; nothing can be answered any more."""


class EngineError(Exception):
    """An answer other than 200, in vLLM's shape `{"error": {"message", "type", "param", "code"}}`."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.param = param

    def body(self) -> bytes:
        """The JSON bytes."""
        return orjson.dumps(self._envelope())

    def event(self) -> bytes:
        """The same as a stream event; vLLM writes this one with spaces."""
        return b"data: " + json.dumps(self._envelope()).encode() + b"\n\n"

    def _envelope(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.status}}


@dataclass(slots=True)
class Exchange:
    """One HTTP request and the means to answer it."""

    scope: Scope
    receive: Receive
    send: Send
    tells_ids: bool = True
    """As with `--enable-request-id-headers`."""
    gone: asyncio.Future[Message] | None = None
    """Done when the client has left, or has its answer; None until somebody wants to know."""

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""
        for key, value in self.scope["headers"]:
            if key == name:
                return str(value, "latin-1")
        return None

    @property
    def transport(self) -> asyncio.Transport:
        """The socket itself; `MockProtocol` puts it into the scope."""
        transport: asyncio.Transport = self.scope["mock.transport"]
        return transport

    async def body(self) -> bytes:
        """The whole body. Raises ClientGone."""
        parts = []
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return b"".join(parts)

    async def start(self, status: int, content_type: bytes | None, length: int | None = None) -> None:
        """Send the status line and headers, with the request id if it tells ids."""
        headers: list[tuple[bytes, bytes]] = []
        if self.tells_ids:
            request_id = self.header(b"x-request-id") or uuid.uuid4().hex
            headers.append((b"x-request-id", request_id.encode("latin-1")))
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        if content_type is not None:
            headers.append((b"content-type", content_type))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def chunk(self, data: bytes) -> None:
        """Send a part of a streamed body. Raises ClientGone."""
        if self.transport.is_closing():
            raise ClientGone
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the last part."""
        await self.send({"type": "http.response.body", "body": data})

    async def answer(self, status: int, data: bytes, content_type: bytes | None = JSON) -> None:
        """A complete answer."""
        await self.start(status, content_type, len(data))
        await self.end(data)

    async def wait(self, seconds: float) -> None:
        """Let `seconds` pass, or raise ClientGone as soon as the client leaves. Call only after `body`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            if self.transport.is_closing():
                raise ClientGone
            return
        loop = asyncio.get_running_loop()
        over = loop.create_future()

        def end(_gone: object = None) -> None:
            if not over.done():
                over.set_result(None)

        timer, gone = loop.call_later(seconds, end), self._watched()
        gone.add_done_callback(end)
        try:
            await over
        finally:
            timer.cancel()
            gone.remove_done_callback(end)
        if gone.done():
            raise ClientGone

    async def until(self, event: asyncio.Future[None]) -> None:
        """Let `event` come, or raise ClientGone as soon as the client leaves. Call only after `body`."""
        await asyncio.wait((self._watched(), event), return_when=asyncio.FIRST_COMPLETED)
        if not event.done():
            raise ClientGone

    def _watched(self) -> asyncio.Future[Message]:
        """One question to the server for all that wait: to ask it anew for each token would cost more than the rest."""
        if self.gone is None:
            self.gone = asyncio.ensure_future(self.receive())
        return self.gone

    def abort(self) -> None:
        """Reset the connection."""
        self.transport.abort()
