"""One socket to an engine, and the answer in progress on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from gateway.engines.news import News
from gateway.engines.unreachable import EngineUnreachable
from gateway.handoffs import EngineBroke, EngineLied

HIGH_WATER_BYTES = 1 << 20
"""Unread answer bytes at which we stop reading from the engine, so that a slow client cannot fill our memory."""
FRAME_BYTES, MOST_HEADERS = 65_536, 100
"""Of a head, or of anything else that is no body, that comes in a row; of a head. Engines need a hundredth."""
GATHERED_BYTES = 1 << 18
"""Of an answer that is gathered before it is read, so many at once: as they are read, others wait a millisecond."""


Body = tuple[bytes, ...]
"""Of a request, in one piece or in several."""
Take = Callable[[bytes], bool]
"""Takes what has come of a body, in the turn of the loop in which it came; whether it will take more in this way."""


class Owner(Protocol):
    """Whose connection it is."""

    heard_at_s: float
    """`time.monotonic()` when the engine last sent anything."""


class _NotTaken(Exception):
    """Ends the parser's work on bytes that are refused."""


class EngineConnection(asyncio.Protocol):
    """See above. Whoever has it asks one thing at a time."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._news = News(self._loop)
        self._parser = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self._begin_answer()

    def _begin_answer(self) -> None:
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
        self._take: Take | None = None
        """What takes the body as it comes, and its reader sleeps."""
        self._silent_s = 0.0
        """The longest that nothing may come meanwhile."""

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

    async def pass_on(self, take: Take, silent_s: float) -> None:
        """Have the body taken as it comes, its reader not woken for each part of it. Returns when it takes no more so,
        or when no more comes. Raises what it raises, and `TimeoutError` when nothing has come for `silent_s`.
        """
        self._take, self._silent_s = take, silent_s
        try:
            if not self.readable:
                await self._news.wait(self._loop.time() + silent_s)
        finally:
            self._take = None

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
        del self._parser  # it leads back here: both would wait for the garbage collector

    def data_received(self, data: bytes) -> None:
        """Feed the parser; bytes that are no HTTP end the answer with a fault."""
        self._owner.heard_at_s = time.monotonic()
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
        if (take := self._take) is not None and self._chunks and self.fault is None:
            self._news.wait_until(self._loop.time() + self._silent_s)
            try:
                self._take = take if take(self.read()) else None
            except Exception as error:
                self._take = None
                self._news.fail(error)
        if self.complete or (self._take is None and self.unread >= self._tells_at):
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
