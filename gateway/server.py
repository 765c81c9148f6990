"""How a gateway is served: uvicorn, with bounds on what an unknown client can make us hold."""

from __future__ import annotations

import asyncio
import gc
import math
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

MAX_HEAD_BYTES = 65_536
HEAD_TIMEOUT_S = 20.0
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
READS_WITHIN_S = 30.0
"""In which a client must have read something of what waits for it."""
BODILESS = (204, 304)
CHUNKED = (b"transfer-encoding", b"chunked")
CLOSE = (b"connection", b"close")
LAST_CHUNK = b"0\r\n\r\n"


class Cycle(RequestResponseCycle):
    """One request and its answer. The head goes out with the first bytes of the body, in one write, and is looked at as
    a whole: uvicorn searches every name and every value for what must not be there, which costs more than all limits.
    """

    reads_within_s = READS_WITHIN_S
    _head = b""

    async def send(self, message: Any) -> None:
        """One message of the application. Raises `RuntimeError` when it is not what ASGI allows now."""
        if self.flow.write_paused and not self.disconnected:
            await self._drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._begin(message)
        elif not self.response_complete:
            self._go_on(message)
        else:
            raise RuntimeError(f"{message['type']!r} came after the end of the answer")

    async def _drain(self) -> None:
        """Wait until the client has read of what lies here. One that reads nothing for long would hold places and money
        of its tenant for ever.
        """
        draining = asyncio.ensure_future(self.flow.drain())
        try:
            left = math.inf
            while not (await asyncio.wait((draining,), timeout=self.reads_within_s))[0]:
                if (now := self.transport.get_write_buffer_size()) >= left:
                    self.transport.abort()
                    return
                left = now
        finally:
            draining.cancel()

    def _begin(self, message: Any) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError(f"an answer cannot begin with {message['type']!r}")
        status, headers = message["status"], [*self.default_headers, *message.get("headers", ())]
        self.chunked_encoding = status not in BODILESS and self.scope["method"] != "HEAD"
        for name, value in headers:
            if name == b"content-length":
                self.expected_content_length = int(value)
                self.chunked_encoding = False
        if self.chunked_encoding:
            headers.append(CHUNKED)
        if CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append(CLOSE)
        head = b"".join([STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in headers)])
        if head.count(b"\n") != len(headers) + 1 or head.count(b"\r") != len(headers) + 1:
            raise RuntimeError("a header has a line break in it")
        self._head = head + b"\r\n"
        self.response_started = True
        self.waiting_for_100_continue = False

    def _go_on(self, message: Any) -> None:
        if message["type"] != "http.response.body":
            raise RuntimeError(f"{message['type']!r} came in the middle of an answer")
        body, ends = message.get("body", b""), not message.get("more_body", False)
        if self.scope["method"] == "HEAD":
            data = self._head
        elif self.chunked_encoding:
            data = self._head + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (LAST_CHUNK if ends else b"")
        else:
            data = self._head + body
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (ends and self.expected_content_length):
                raise RuntimeError(f"the body is not as long as its content-length: {-self.expected_content_length:+d}")
        self._head = b""
        if data:
            self.transport.write(data)
        if ends:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request line and headers are too long, or do not arrive in time."""

    head_timeout_s = HEAD_TIMEOUT_S

    def connection_made(self, transport: Any) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._in_head = True
        self._clock: asyncio.TimerHandle | None = self.loop.call_later(self.head_timeout_s, transport.close)

    def data_received(self, data: bytes) -> None:
        """Count what arrives before the headers are complete."""
        if self._in_head:
            self._head_bytes += len(data)
            # What came in one piece may hold the body too: only what is still head after parsing counts.
            if self._head_bytes > MAX_HEAD_BYTES and b"\r\n\r\n" not in data:
                self.transport.write(TOO_LARGE)
                self.transport.close()
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """The head is whole: stop the clock."""
        self._in_head = False
        self._stop_clock()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next bytes are the next request's head."""
        super().on_message_complete()
        self._head_bytes = 0
        self._in_head = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.__class__ = Cycle  # uvicorn makes it, and has no seam for another one
        super()._start_asgi_task(cycle, app)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


class Server(uvicorn.Server):
    """A server whose event loop the garbage collector does not hold up."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open everything and listen; then spare what lives by now."""
        await super().startup(sockets)
        spare_what_lives()


def spare_what_lives() -> None:
    """Take every object that there is now out of the garbage collector's rounds, for the life of this process.

    A full round visits the whole catalog and every module: 0.2 s at 10,000 adapters, in the middle of all requests.
    """
    gc.collect()
    gc.freeze()


def server_config(gateway: Any, host: str, port: int, *, grace_s: int) -> uvicorn.Config:
    """uvicorn's settings of a gateway; `grace_s` is how long running answers may go on after SIGTERM."""
    return uvicorn.Config(
        gateway,
        host=host,
        port=port,
        loop="uvloop",
        http=BoundedProtocol,
        access_log=False,
        proxy_headers=False,
        log_config=None,
        timeout_graceful_shutdown=grace_s,
    )
