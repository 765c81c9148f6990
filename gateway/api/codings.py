"""Bodies that are sent compressed: decoded in small steps, beyond the first ones beside the event loop, and never
beyond the limit that plain bodies have.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import brotli
import zstandard

from gateway.bytes_in_flight import HeldBytes
from gateway.errors import BadRequest, PayloadTooLarge, UnsupportedMedia

Pieces = Iterator[bytes]
SLICE_BYTES = 1 << 14
PIECE_BYTES = 1 << 16
ZSTD_SLICE_BYTES = 1 << 8
"""zstd's decoder bounds no output: four bytes of input can be 128 KiB of it."""
ZSTD_WINDOW_BYTES = 1 << 23
"""The most that RFC 9659 lets a sender ask for."""
FIRST_BYTES, FIRST_STEPS = 1 << 16, 64
"""After so much output, or so many steps, it goes on beside the event loop: there are some kilobytes that take long."""
MOST_CODINGS = 3
MOST_STREAMS = 256
"""Of one coding behind each other, as parallel compressors write them. Each has a decoder of its own, and some hundred
bytes, coded twice, can be half a million of them that are empty.
"""


class NotDecodable(Exception):
    """The bytes are not what their coding says."""


def _inflated(data: bytes, window_bits: int) -> Pieces:
    """One or more zlib streams behind each other."""
    at = 0
    for _ in range(MOST_STREAMS):
        decoder = zlib.decompressobj(window_bits)
        while not decoder.eof:
            given = decoder.unconsumed_tail
            if not given:
                given = data[at : at + SLICE_BYTES]
                at += len(given)
            piece = decoder.decompress(given, PIECE_BYTES)
            if not given and not piece:
                raise NotDecodable("it ends in the middle")
            yield piece
        at -= len(decoder.unused_data)
        if at >= len(data):
            return
    raise NotDecodable(f"it is more than {MOST_STREAMS} streams behind each other")


def _gunzipped(data: bytes) -> Pieces:
    return _inflated(data, 16 + zlib.MAX_WBITS)


def _deflated(data: bytes) -> Pieces:
    """`deflate` is zlib's format, and of some senders the bare stream in it; only the first has this head."""
    has_head = len(data) > 1 and data[0] & 15 == zlib.DEFLATED and not int.from_bytes(data[:2], "big") % 31
    return _inflated(data, zlib.MAX_WBITS if has_head else -zlib.MAX_WBITS)


def _unbrotlied(data: bytes) -> Pieces:
    decoder = brotli.Decompressor()
    at = 0
    while not decoder.is_finished():
        given = b""
        if decoder.can_accept_more_data():
            given = data[at : at + SLICE_BYTES]
            at += len(given)
        piece = decoder.process(given, output_buffer_limit=PIECE_BYTES)
        if not piece and at >= len(data) and not decoder.is_finished():
            raise NotDecodable("it ends in the middle")
        yield piece
    if at < len(data):
        raise NotDecodable("something follows its end")


def _unzstded(data: bytes) -> Pieces:
    at = 0
    for _ in range(MOST_STREAMS):
        decoder = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj()
        while not decoder.eof:
            given = data[at : at + ZSTD_SLICE_BYTES]
            at += len(given)
            if not given:
                raise NotDecodable("it ends in the middle")
            yield decoder.decompress(given)
        at -= len(decoder.unused_data)
        if at >= len(data):
            return
    raise NotDecodable(f"it is more than {MOST_STREAMS} streams behind each other")


DECODERS: Mapping[str, Callable[[bytes], Pieces]] = MappingProxyType(
    {"gzip": _gunzipped, "deflate": _deflated, "br": _unbrotlied, "zstd": _unzstded}
)
SYNONYMS = {"x-gzip": "gzip"}
ACCEPTED = ", ".join(DECODERS)


def codings_of(header: bytes) -> list[str]:
    """The codings that a Content-Encoding header names, in the order in which they were applied.

    Raises `UnsupportedMedia` for one that is not known.
    """
    found = []
    for part in header.decode("latin-1").lower().split(","):
        name = part.strip(" \t")
        name = SYNONYMS.get(name, name)
        if name in DECODERS:
            found.append(name)
        elif name not in ("", "identity"):
            raise refusal(f"'Content-Encoding: {name[:60]}' is not read. Send {ACCEPTED}, or the body as it is.")
    return found


def refusal(message: str, accepted: str = ACCEPTED) -> UnsupportedMedia:
    """A 415 that says what is accepted."""
    error = UnsupportedMedia(message, param="Content-Encoding", code="unsupported_content_encoding")
    error.headers = ((b"accept-encoding", accepted.encode()),)
    return error


Read = Callable[[HeldBytes], Awaitable[bytes]]
"""Reads a body, which is counted as it comes."""


Aside = Callable[[str, int, Callable[[], None]], Awaitable[None]]
"""Does some work of a tenant's, about a body of so many bytes, where it holds up nobody else: `Desk.do`."""


def decoding(read: Read, codings: Sequence[str], limit: int, aside: Aside) -> Read:
    """A `read` that decodes what it has read.

    Raises `UnsupportedMedia` at once for too many codings, when it reads `BadRequest` for what is not so coded, and
    `PayloadTooLarge` when it would be more than `limit` bytes.
    """
    if len(codings) > MOST_CODINGS:
        raise refusal(f"'Content-Encoding' names {len(codings)} codings; {MOST_CODINGS} are the most.")

    async def read_and_decode(held: HeldBytes) -> bytes:
        body = await read(held)
        for coding in reversed(codings):
            body = await _decoded(body, coding, limit, held, aside)
        return body

    return read_and_decode


async def _decoded(body: bytes, coding: str, limit: int, held: HeldBytes, aside: Aside) -> bytes:
    coded, work = len(body), _Work(body, coding, limit)
    try:
        for _ in range(FIRST_STEPS):
            if work.step() or work.length >= FIRST_BYTES:
                break
        held.asked(coded + work.length)
        if not work.done:
            held.asked(coded + limit)
            await aside(held.tenant, limit, work.finish)
            held.asked(coded + work.length)
    except (NotDecodable, zlib.error, brotli.error, zstandard.ZstdError) as error:
        raise BadRequest(
            f"The body is not what 'Content-Encoding: {coding}' says: {error}.",
            param="Content-Encoding",
            code="invalid_content_encoding",
        ) from error
    return b"".join(work.parts)


class _Work:
    """One body, as far as it is decoded."""

    def __init__(self, body: bytes, coding: str, limit: int) -> None:
        self._pieces = DECODERS[coding](body)
        self._limit = limit
        self.parts: list[bytes] = []
        self.length = 0
        self.done = False

    def step(self) -> bool:
        """Decode some more; whether that was all. Raises `PayloadTooLarge`, and what decoders raise."""
        piece = next(self._pieces, None)
        if piece is None:
            self.done = True
        else:
            self.length += len(piece)
            if self.length > self._limit:
                message = f"The decoded body is longer than {self._limit} bytes."
                raise PayloadTooLarge(message, code="payload_too_large")
            self.parts.append(piece)
        return self.done

    def finish(self) -> None:
        """Decode the rest."""
        while not self.step():
            pass
