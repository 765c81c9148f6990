"""The engine connection of the hot path: HTTP/1.1 keep-alive on httptools and asyncio, and nothing it does not need.

One request at a time on a connection; a pool per engine hands idle connections out, newest first. A connection goes
back only after a complete answer: whatever else happens (client gone, error, timeout) it is closed, and closing it is
how the engine learns to stop generating.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from types import TracebackType

from gateway.engines.address import EngineAddress
from gateway.engines.engine_socket import Body, EngineConnection, Take
from gateway.engines.unreachable import AdapterMissing as AdapterMissing
from gateway.engines.unreachable import CannotLoad as CannotLoad
from gateway.engines.unreachable import EngineTimeout as EngineTimeout
from gateway.engines.unreachable import EngineUnreachable as EngineUnreachable
from gateway.handoffs import EngineBroke, EngineLied


class EngineClient:
    """Connections to one engine. `base_url` is `http://host:port`; engines stand on a private network, so no TLS.

    `api_key` is the engine's own, sent with every request.
    """

    def __init__(
        self, base_url: str, api_key: str | None = None, *, connect_timeout_s: float = 2.0, idle_limit: int = 256
    ) -> None:
        address = EngineAddress.parse(base_url)
        self._host, self._port = address.host, address.port
        key = b"Authorization: Bearer %b\r\n" % api_key.encode() if api_key else b""
        self._constant_head = b"Host: %b\r\nContent-Type: application/json\r\n%b" % (address.named.encode(), key)
        self._connect_timeout_s = connect_timeout_s
        self._idle: deque[EngineConnection] = deque(maxlen=idle_limit)
        self.active: set[EngineConnection] = set()
        """Connections with an answer in progress."""
        self._closed = False
        self.heard_at_s = time.monotonic()
        """When the engine last sent anything, or the last request went out to an engine that had none."""

    def request(
        self, path: bytes, headers: bytes, body: Body, *, head_timeout_s: float, method: bytes = b"POST"
    ) -> Exchange:
        """One request as an async context. `headers` are whole lines ending in CRLF."""
        head = b"%b %b HTTP/1.1\r\n%bContent-Length: %d\r\n%b\r\n" % (
            method,
            path,
            self._constant_head,
            sum(map(len, body)),
            headers,
        )
        return Exchange(self, head, body, head_timeout_s)

    async def connect(self) -> EngineConnection:
        """A new connection. Raises `EngineUnreachable`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await loop.create_connection(lambda: EngineConnection(self), self._host, self._port)
        except (OSError, TimeoutError) as error:
            raise EngineUnreachable(f"cannot connect to the engine: {str(error) or 'timed out'}") from None
        return connection

    def take_idle(self) -> EngineConnection | None:
        """The connection that was used last, if one is idle and alive."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    def give_back(self, connection: EngineConnection) -> None:
        """Keep a connection for the next request, or close it when its answer did not end properly."""
        self.active.discard(connection)
        if connection.reusable and not self._closed and len(self._idle) < (self._idle.maxlen or 0):
            self._idle.append(connection)
        else:
            connection.close()

    def abort(self, fault: str) -> None:
        """Give up every answer in progress: nothing will come of it."""
        for connection in list(self.active):
            connection.fault = connection.fault or fault
            connection.close()

    def close(self) -> None:
        """Close every idle connection, and each of the others when its answer has ended."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()


class Exchange:
    """One request and its answer. Entered, status and headers are there; left, the socket is free or closed."""

    status: int
    """HTTP status of the answer."""
    headers: dict[bytes, bytes]
    """Headers of the answer, lower-case names."""
    connection: EngineConnection
    """That has the answer."""

    def __init__(self, client: EngineClient, head: bytes, body: Body, head_timeout_s: float) -> None:
        self._client = client
        self._head = head
        self._body = body
        self._head_timeout_s = head_timeout_s
        self._sent_s = 0.0
        """When the request went out, on the loop's clock."""
        self.sent = False
        """Whether the request went out on some connection: the engine may have worked on it."""
        self._begun = False
        """Whether some of the body has come."""

    async def __aenter__(self) -> Exchange:
        """Send, and wait for the head of the answer. Raises `EngineUnreachable`."""
        idle = self._client.take_idle()
        if idle is not None:
            try:
                return await self._exchange(idle)
            except EngineTimeout:
                raise
            except EngineUnreachable:
                # The engine may have closed an idle socket just as we wrote: that says nothing about the engine.
                if idle.fault is not None:
                    raise
        return await self._exchange(await self._client.connect())

    async def _exchange(self, connection: EngineConnection) -> Exchange:
        if not self._client.active:
            self._client.heard_at_s = time.monotonic()
        self._client.active.add(connection)
        try:
            connection.send(self._head, self._body)
            self.sent = True
            self._sent_s = asyncio.get_running_loop().time()
            await connection.wait_for_head(self._head_timeout_s)
        except BaseException as error:
            connection.close()
            self._client.give_back(connection)
            if isinstance(error, TimeoutError):
                raise self._too_late() from None
            raise
        self.connection = connection
        self.status, self.headers = connection.status, connection.headers
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the connection."""
        self._client.give_back(self.connection)

    def _too_late(self) -> EngineTimeout:
        return EngineTimeout(f"the engine did not begin an answer within {self._head_timeout_s:g} s")

    async def gathered(self) -> bytes:
        """Much of the body at once, `b""` at its end: all of it must have come `head_timeout_s` after the request went
        out. Raises `EngineBroke`, `EngineTimeout`.
        """
        connection = self.connection
        try:
            await connection.wait_until_gathered(self._sent_s + self._head_timeout_s)
        except TimeoutError:
            raise EngineTimeout(f"the engine's answer was not whole within {self._head_timeout_s:g} s") from None
        return connection.read()

    def unread(self) -> bytes:
        """What has come of the body and was not read."""
        connection = self.connection
        return connection.read() if connection.unread else b""

    async def some(self, idle_timeout_s: float) -> bytes:
        """More of the body as it arrives, `b""` at its end. Raises `EngineBroke`, also when nothing came for
        `idle_timeout_s` within it, and `EngineTimeout` when it did not begin in time: engines send the head of a stream
        long before its first byte.
        """
        connection = self.connection
        if not connection.readable:
            try:
                await connection.wait_until_readable(idle_timeout_s if self._begun else self._head_timeout_s)
            except TimeoutError:
                connection.close()
                if not self._begun:
                    raise self._too_late() from None
                raise _silent(idle_timeout_s) from None
        self._begun = True
        return connection.read()

    async def pass_on(self, take: Take, idle_timeout_s: float) -> None:
        """Have more of the body taken in the turns of the loop in which it comes; then `some` says how it goes on.
        Raises what `take` raises, and `EngineBroke` as `some`.
        """
        try:
            await self.connection.pass_on(take, idle_timeout_s)
        except TimeoutError:
            self.connection.close()
            raise _silent(idle_timeout_s) from None

    async def body(self, idle_timeout_s: float, most_bytes: int) -> bytes:
        """The whole body. Raises as `some`, and `EngineLied` when it has more than `most_bytes`."""
        parts, left = [], most_bytes
        while data := await self.some(idle_timeout_s):
            left -= len(data)
            if left < 0:
                raise EngineLied("too_long", f"the engine's answer has more than {most_bytes} bytes")
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _silent(seconds: float) -> EngineBroke:
    return EngineBroke(f"the engine sent nothing for {seconds:g} s")
