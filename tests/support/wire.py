"""Answers read from a socket as they come, for tests and benchmarks that send what no client's library would."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

PIECE_BYTES = 65_536


class Answer(NamedTuple):
    """One answer. `headers` are by names in lower case, the last one of each name; `body` is its first bytes only."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def read_answer(
    reader: asyncio.StreamReader, *, of_head: bool = False, most_kept: int = PIECE_BYTES
) -> Answer | None:
    """The next answer to its end, of whose body `most_kept` bytes are kept; `None` where the connection ended instead.

    `of_head`: it answers a HEAD. Raises `IncompleteReadError` where it ended half way, and `ValueError` for what
    is no HTTP.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as ended:
        if ended.partial:
            raise
        return None
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    version, _, status = first.partition(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0") or not status[:3].isdigit():
        raise ValueError(f"{first[:80]!r} begins no answer")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    number = int(status[:3])
    if number == 100:
        return await read_answer(reader, of_head=of_head, most_kept=most_kept)
    body = bytearray()
    if not of_head and number not in (204, 304):
        await _read_body(reader, headers, body, most_kept)
    return Answer(number, headers, bytes(body))


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str], body: bytearray, most_kept: int) -> None:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while length := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            await _take(reader, length, body, most_kept)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
    elif "content-length" in headers:
        await _take(reader, int(headers["content-length"]), body, most_kept)
    else:
        while piece := await reader.read(PIECE_BYTES):
            body += piece[: most_kept - len(body)]


async def _take(reader: asyncio.StreamReader, length: int, body: bytearray, most_kept: int) -> None:
    while length:
        piece = await reader.read(min(length, PIECE_BYTES))
        if not piece:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(piece)
        body += piece[: max(0, most_kept - len(body))]
