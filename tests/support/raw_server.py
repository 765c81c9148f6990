"""An HTTP server of a few lines that answers whatever bytes a test wants, when it wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[["Connection"], Awaitable[None]]


@dataclass
class Connection:
    """One accepted socket. `number` counts connections from 0, `requests` those read on this one."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def read_request(self) -> bool:
        """Read one whole request into `requests`; False when the client has closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        self.requests.append((head, await self.reader.readexactly(length)))
        return True

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_in_pieces(self, data: bytes, size: int) -> None:
        """Each piece in a packet of its own, as far as the machine lets us: the reader runs between two."""
        for start in range(0, len(data), size):
            await self.send(data[start : start + size])
            await asyncio.sleep(0)


@dataclass
class RawServer:
    """What the server has seen."""

    url: str
    connections: list[Connection] = field(default_factory=list)

    @property
    def requests(self) -> list[tuple[bytes, bytes]]:
        return [request for connection in self.connections for request in connection.requests]


@asynccontextmanager
async def raw_server(answer: Answer) -> AsyncIterator[RawServer]:
    """`answer` is called once for each whole request; the socket is closed when it returns after `writer.close()`."""
    seen = RawServer("")
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        connection = Connection(len(seen.connections), reader, writer)
        seen.connections.append(connection)
        try:
            while not writer.is_closing() and await connection.read_request():
                await answer(connection)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    seen.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield seen
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def document(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """An answer with a Content-Length."""
    lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(*parts: bytes) -> bytes:
    """An answer in HTTP chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
