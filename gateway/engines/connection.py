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
from typing import cast

import httptools

from gateway.engines.address import EngineAddress
from gateway.engines.news import News
from gateway.engines.unreachable import AdapterMissing as AdapterMissing
from gateway.engines.unreachable import CannotLoad as CannotLoad
from gateway.engines.unreachable import EngineTimeout as EngineTimeout
from gateway.engines.unreachable import EngineUnreachable as EngineUnreachable
from gateway.handoffs import EngineBroke, EngineLied

HIGH_WATER_BYTES = 1 << 20
"""Unread answer bytes at which we stop reading from the engine, so that a slow client cannot fill our memory."""
FRAME_BYTES, MOST_HEADERS = 65_536, 100
"""Of a head, or of anything else that is no body, that comes in a row; of a head. Engines need a hundredth."""
GATHERED_BYTES = 1 << 18
"""Of an answer that is gathered before it is read, so many at once: as they are read, others wait a millisecond."""


Body = tuple[bytes, ...]
"""Of a request, in one piece or in several."""


class _NotTaken(Exception):
    """Ends the parser's work on bytes that are refused."""


class EngineConnection(asyncio.Protocol):
    """One socket to an engine, and the answer in progress on it."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._news = News(self._loop)
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self._begin_answer()

    def _begin_answer(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.headers: dict[bytes, bytes] = {}
        self.status = 0
        self.complete = False
        self._keep_alive = False
        self.fault: str | None = None
        self._lied = False
        """Whether the fault is that what came is no HTTP of an engine."""
        self._frame_bytes = 0
        """That came since the last of the body."""
        self._chunks: list[bytes] = []
        self.unread = 0
        """Bytes of the body that `read` would return."""
        self._tells_at = 0
        """At how many of them the reader is woken before all is there."""

    def send(self, head: bytes, body: Body) -> None:
        """Write one request; the previous answer must be complete."""
        assert self.transport is not None
        self._begin_answer()
        if len(body) == 1:
            self.transport.write(head + body[0])
        else:  # nothing of it is copied
            self.transport.writelines((head, *body))

    async def wait_for_head(self, within_s: float) -> None:
        """Return when status and headers are there. Raises `EngineUnreachable`, `TimeoutError`."""
        due_s = self._loop.time() + within_s
        while not self.status:
            if self.closed or self.fault:
                if self._lied and self.fault:
                    raise EngineLied("bad_http", self.fault)
                raise EngineUnreachable(self.fault or "the engine closed the connection without an answer")
            await self._news.wait(due_s)

    @property
    def readable(self) -> bool:
        """Whether `read` would return or raise at once."""
        return bool(self._chunks) or self.complete or self.closed or self.fault is not None

    async def wait_until_readable(self, within_s: float) -> None:
        """Return when `read` has something to say. Raises `TimeoutError`."""
        due_s = self._loop.time() + within_s
        while not self.readable:
            await self._news.wait(due_s)

    async def wait_until_gathered(self, due_s: float) -> None:
        """Return when `read` has much to say, or all; who waits is not woken for less. Raises `TimeoutError` at that
        time on the loop's clock.
        """
        self._tells_at = GATHERED_BYTES
        try:
            while not (self.complete or self.closed or self.fault or self.unread >= GATHERED_BYTES):
                if self._loop.time() >= due_s:
                    raise TimeoutError
                await self._news.wait(due_s)
        finally:
            self._tells_at = 0

    def read(self) -> bytes:
        """The bytes of the body that are there, `b""` at its end; only when `readable`. Raises `EngineBroke`."""
        if not self._chunks:
            if self.complete and not self._lied:
                return b""
            if self._lied and self.fault:
                raise EngineLied("bad_http", self.fault)
            raise EngineBroke(self.fault or "the engine closed the connection in the middle of its answer")
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        if self.unread > HIGH_WATER_BYTES and self.transport is not None:
            self.transport.resume_reading()
        self.unread = 0
        return data

    def close(self) -> None:
        """Drop the socket; the engine aborts what it was generating for it."""
        self._end()
        if self.transport is not None:
            self.transport.abort()

    def _refuse(self, what: str) -> None:
        """End the answer: nothing like that comes from an engine."""
        if self.fault is None:
            self.fault, self._lied = f"the engine sent {what}", True
        self.close()

    def _end(self) -> None:
        self.closed = True
        self._news.stop()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake the reader, which finds out."""
        self._end()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; bytes that are no HTTP end the answer with a fault."""
        self._client.heard_at_s = time.monotonic()
        if self.complete:  # it answers what nobody has asked: the next answer could not be told from it
            self.close()
            return
        before = self.unread
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._refuse(f"what is not HTTP ({type(error).__name__})")
        if self.unread == before and not self.complete:
            self._frame_bytes += len(data)
            if self._frame_bytes > FRAME_BYTES:
                self._refuse(f"a head or a frame of more than {FRAME_BYTES} bytes")
        else:
            self._frame_bytes = 0
        if self.unread >= self._tells_at or self.complete:
            self._news.notify()

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the header under its lower-case name."""
        if self.status:
            self._refuse("trailers")
        else:
            self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The answer begins. No engine switches protocols, or sends hints before it."""
        status = self._parser.get_status_code()
        if status < 200 or self.complete or len(self.headers) > MOST_HEADERS:
            self._refuse(f"HTTP {status}" if status < 200 else "two answers" if self.complete else "too many headers")
            raise _NotTaken
        self.status = status

    def on_body(self, body: bytes) -> None:
        """Keep the bytes; stop reading the socket when too many are unread."""
        self._chunks.append(body)
        self.unread += len(body)
        if self.unread > HIGH_WATER_BYTES and self.transport is not None:
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        """The answer ended properly; only now does the parser know whether the socket may be used again."""
        self.complete = True
        self._keep_alive = self._parser.should_keep_alive()

    @property
    def reusable(self) -> bool:
        """Whether another request may follow on this socket; bytes that nobody read may have paused it."""
        return self.complete and self._keep_alive and not self._chunks and not self.closed


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

    def post(self, path: bytes, headers: bytes, body: Body, *, head_timeout_s: float) -> Exchange:
        """One POST as an async context. `headers` are whole lines ending in CRLF."""
        return self.request(b"POST", path, headers, body, head_timeout_s=head_timeout_s)

    def request(self, method: bytes, path: bytes, headers: bytes, body: Body, *, head_timeout_s: float) -> Exchange:
        """Of any method, as `post`."""
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

    def __init__(self, client: EngineClient, head: bytes, body: Body, head_timeout_s: float) -> None:
        self._client = client
        self._head = head
        self._body = body
        self._head_timeout_s = head_timeout_s
        self._connection: EngineConnection | None = None
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
        self._connection = connection
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the connection."""
        if self._connection is not None:
            self._client.give_back(self._connection)

    def _too_late(self) -> EngineTimeout:
        return EngineTimeout(f"the engine did not begin an answer within {self._head_timeout_s:g} s")

    @property
    def connection(self) -> EngineConnection:
        """The connection in use."""
        assert self._connection is not None, "the exchange was not entered"
        return self._connection

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return self.connection.status

    @property
    def headers(self) -> dict[bytes, bytes]:
        """Headers of the answer, lower-case names."""
        return self.connection.headers

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
                raise EngineBroke(f"the engine sent nothing for {idle_timeout_s:g} s") from None
        self._begun = True
        return connection.read()

    async def body(self, idle_timeout_s: float, most_bytes: int) -> bytes:
        """The whole body. Raises as `some`, and `EngineLied` when it has more than `most_bytes`."""
        parts, left = [], most_bytes
        while data := await self.some(idle_timeout_s):
            left -= len(data)
            if left < 0:
                raise EngineLied("too_long", f"the engine's answer has more than {most_bytes} bytes")
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)
