"""The client's side of one proxied request, in raw ASGI: head, chunks, end, or an error in the right place."""

from __future__ import annotations

import time

from gateway.api.asgi import Send
from gateway.errors import ApiError, Headers
from gateway.handoffs import Arm

JSON = b"application/json"
SSE = b"text/event-stream; charset=utf-8"


class Respond:
    """A stream's head goes out with its first chunk; a document is held until `end`.

    So every error before the first byte is a plain JSON answer with its own status, and nothing is complete before its
    usage is on record.
    """

    def __init__(self, send: Send, *, began_s: float, headers: Headers = ()) -> None:
        """`headers` are of every answer; `began_s` is `time.perf_counter()` when the request came."""
        self._send = send
        self._headers = [*headers]
        self._held: list[bytes] = []
        self._began_s = began_s
        self.streams = False
        self.started = False
        self.status = 0
        self.first_byte_s: float | None = None
        """Seconds from the request to the first byte of its answer."""

    def describe(self, arm: Arm) -> None:
        """Name what answers the request."""
        self._headers.append((b"x-switchyard-model", arm.public_name.encode()))
        if arm.arm is not None:
            self._headers.append((b"x-switchyard-arm", arm.arm.encode()))

    def say(self, headers: Headers) -> None:
        """Add headers to the answer that has not begun."""
        self._headers += headers

    async def feed(self, chunk: bytes) -> None:
        """Some bytes of a good answer."""
        if self.first_byte_s is None:
            self.first_byte_s = time.perf_counter() - self._began_s
        if not self.streams:
            self._held.append(chunk)
            return
        if not self.started:
            await self._start(200, SSE, [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")])
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    def forget(self) -> None:
        """Drop what is held of an answer that broke off before anything went out; another engine will give a whole one.

        Invariant: only called while nothing was sent.
        """
        assert not self.started
        self._held.clear()
        self.first_byte_s = None

    async def end(self) -> None:
        """The answer is complete and on record."""
        if self.streams:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await self._document(200, b"".join(self._held), [])

    async def fail(self, error: ApiError) -> None:
        """The error as a JSON answer, or as the last event of a stream that has begun."""
        if self.started:
            await self._send({"type": "http.response.body", "body": error.sse_event(), "more_body": False})
            return
        await self._document(error.status, error.envelope(), [*error.answer_headers()])

    async def _document(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        await self._start(status, JSON, [*headers, (b"content-length", str(len(body)).encode())])
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _start(self, status: int, content_type: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        self.status = status
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", content_type), *self._headers, *headers],
            }
        )
