"""How a gateway is served: uvicorn, with bounds on what an unknown client can make us hold."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
HEAD_TIMEOUT_S = 20.0
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


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
