"""A lean HTTP/1.1 client for measurements: keep-alive connections on asyncio and httptools.

It costs a tenth of a general client's CPU, so that what is measured is the server. It follows no redirects, speaks
no TLS, and retries nothing: what goes wrong on the wire is raised and counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httptools

IDLE_LIMIT_S = 2.0
"""Servers close idle connections after five seconds or more; one that is about to be closed is not written to."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer. Times are seconds since the request was written."""

    status: int
    body: bytes
    first_byte_s: float
    """Until the first byte of the body."""
    total_s: float
    headers: Mapping[str, str]
    """Names in lower case."""


class BrokenAnswer(ConnectionError):
    """The connection ended, or stopped being HTTP, before the answer was complete. `begun` is what there was of it."""

    def __init__(self, message: str, begun: Reply | None = None) -> None:
        super().__init__(message)
        self.begun = begun


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.reusable = True
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[None] | None = None
        self._parts: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        self._first_byte: float | None = None
        self._headers: dict[str, str] = {}
        self._started = 0.0
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def exchange(self, request: bytes) -> Reply:
        assert self._transport is not None
        if self._transport.is_closing():
            raise BrokenAnswer("the connection was closed before the request was written")
        self._parts, self._first_byte, self._headers = [], None, {}
        self._parser = httptools.HttpResponseParser(self)
        self._done = asyncio.get_running_loop().create_future()
        self._started = time.perf_counter()
        self._transport.write(request)
        try:
            await self._done
        except BaseException:
            self.close()
            raise
        return self._reply()

    def _reply(self) -> Reply:
        ended = time.perf_counter()
        first = (self._first_byte or ended) - self._started
        status = self._parser.get_status_code()
        return Reply(status, b"".join(self._parts), first, ended - self._started, self._headers)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"the answer is not HTTP: {error}")
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        if self._first_byte is None:
            self._first_byte = time.perf_counter()
        self._parts.append(body)

    def on_message_complete(self) -> None:
        self.reusable = self._parser.should_keep_alive()
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        self._fail("the connection ended before the answer did")

    def close(self) -> None:
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, why: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(BrokenAnswer(why, self._reply() if self._first_byte is not None else None))


class Client:
    """Posts JSON to one server over as many connections as there are requests at a time."""

    def __init__(self, url: str, key: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"url={url!r}: give http://host:port")
        self._address = parts.hostname, parts.port or 80
        self._prefix = parts.path.rstrip("/")
        secret = f"Authorization: Bearer {key}\r\n" if key else ""
        self._head = f"Host: {parts.netloc}\r\nContent-Type: application/json\r\n{secret}"
        self._idle: deque[_Connection] = deque()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            self._idle.pop().close()

    async def post(self, path: str, body: bytes, lines: str = "") -> Reply:
        """Post `body`, with more lines of headers if there are any, each with its end; read the answer to its end.
        Raises OSError (BrokenAnswer, refused, reset).
        """
        connection = await self._connection()
        head = f"POST {self._prefix}{path} HTTP/1.1\r\n{self._head}{lines}Content-Length: {len(body)}\r\n\r\n"
        reply = await connection.exchange(head.encode() + body)
        if connection.reusable:
            connection.idle_since = time.perf_counter()
            self._idle.append(connection)
        else:
            connection.close()
        return reply

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and time.perf_counter() - connection.idle_since < IDLE_LIMIT_S:
                return connection
            connection.close()
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, *self._address)
        return connection
