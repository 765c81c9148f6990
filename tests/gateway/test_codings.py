"""Compressed bodies: every coding, what is none, and bombs."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import httpx
import orjson
import pytest
import zstandard

from gateway.admin_key import admin_key
from gateway.api.codings import codings_of, decoding
from gateway.api.fields.caps import Caps
from gateway.bytes_in_flight import NOT_COUNTED, BytesInFlight, HeldBytes
from gateway.desk import Desk
from gateway.errors import ApiError, BadRequest, PayloadTooLarge, UnsupportedMedia
from tests.support.stack import CHAT, MESSAGES, TEXT, Stack

BODY = json.dumps({"model": "triage", "messages": MESSAGES, "max_tokens": 2}).encode()
LIMIT = Caps().max_body_bytes
Coder = Callable[[bytes], bytes]


def bare(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(data) + coder.flush()


def streamed_zstd(data: bytes) -> bytes:
    """Without the size of the content in its head, and in two frames."""
    parts = []
    for half in (data[:7], data[7:]):
        coder = zstandard.ZstdCompressor().compressobj()
        parts.append(coder.compress(half) + coder.flush())
    return b"".join(parts)


CODERS: list[tuple[str, Coder]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
    ("deflate", zlib.compress),
    ("deflate", lambda data: zlib.compress(data, 0)),
    ("deflate", bare),
    ("br", brotli.compress),
    ("zstd", zstandard.ZstdCompressor().compress),
    ("zstd", streamed_zstd),
    ("identity", bytes),
    ("", bytes),
    ("gzip, br", lambda data: brotli.compress(gzip.compress(data))),
    ("identity, deflate ,, zstd,identity", lambda data: zstandard.ZstdCompressor().compress(zlib.compress(data))),
]


def decode(data: bytes, header: str, limit: int = LIMIT) -> bytes:
    async def read(_held: HeldBytes) -> bytes:
        return data

    async def whole() -> bytes:
        desk = Desk()
        try:
            return await decoding(read, codings_of(header.encode()), limit, desk.do)(NOT_COUNTED)
        finally:
            desk.close()

    return asyncio.run(whole())


@pytest.mark.parametrize(("header", "coder"), CODERS)
def test_a_compressed_body_is_served_as_the_plain_one_is(stack: Stack, header: str, coder: Coder) -> None:
    answer = stack.post(CHAT, coder(BODY), headers={"Content-Encoding": header})
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize(("header", "coder"), CODERS)
@pytest.mark.parametrize("size", [0, 1, 70_000, 1_000_000])
def test_what_was_coded_is_decoded_to_the_byte(header: str, coder: Coder, size: int) -> None:
    data = bytes((number * number) % 251 for number in range(size))
    assert decode(coder(data), header) == data


def test_two_headers_are_one_list(stack: Stack) -> None:
    key = ("Authorization", f"Bearer {stack.house.keys['acme']}")
    headers = [key, ("Content-Encoding", "gzip"), ("Content-Encoding", "br")]
    content = brotli.compress(gzip.compress(BODY))
    assert stack.http.post(f"{stack.url}{CHAT}", headers=headers, content=content).status_code == 200


@pytest.mark.parametrize(
    "header", ["compress", "gzip, lzma", "br;q=1", "*", "gzip br", "snappy", "x" * 500, "gzip,gzip,gzip,gzip"]
)
def test_an_unknown_coding_is_a_415_that_says_what_is_read_before_the_body_is(stack: Stack, header: str) -> None:
    for path in (CHAT, TEXT):
        answer = stack.post(path, BODY, headers={"Content-Encoding": header})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (415, "Content-Encoding")
        assert error["code"] == "unsupported_content_encoding"
        assert answer.headers["accept-encoding"] == "gzip, deflate, br, zstd"
        assert len(error["message"]) < 200


def test_the_admin_api_says_that_it_reads_none(stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {admin_key(stack.house.settings)}", "Content-Encoding": "gzip"}
    answer = httpx.put(f"{stack.url}/admin/v1/limits/tenant:acme", headers=headers, content=gzip.compress(b"{}"))
    assert (answer.status_code, answer.json()["error"]["param"]) == (415, "Content-Encoding")


@pytest.mark.parametrize(("header", "coder"), [one for one in CODERS if one[1] is not bytes])
def test_a_body_that_is_cut_or_is_not_what_its_header_says_is_a_400(header: str, coder: Coder) -> None:
    coded = coder(BODY)
    for broken in (b"", coded[:1], coded[: len(coded) // 2], coded[:-1], BODY, coded + b"\x01", b"\xff" * 99):
        with pytest.raises(BadRequest) as caught:
            decode(broken, header)
        assert (caught.value.param, caught.value.code) == ("Content-Encoding", "invalid_content_encoding")


@pytest.mark.parametrize(
    ("coding", "coder"), [("gzip", gzip.compress), ("br", brotli.compress), ("zstd", streamed_zstd)]
)
def test_a_broken_body_is_refused_over_the_socket_too(stack: Stack, coding: str, coder: Coder) -> None:
    answer = stack.post(CHAT, coder(BODY)[:-3], headers={"Content-Encoding": coding})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_content_encoding")
    assert stack.post(CHAT, coder(BODY), headers={"Content-Encoding": coding}).status_code == 200


def zstd_of_one_byte(blocks: int) -> bytes:
    """128 KiB for every four bytes."""
    head = b"\x28\xb5\x2f\xfd\x00\x58"
    block = (131_072 << 3 | 2).to_bytes(3, "little") + b" "
    return head + block * blocks + (1 | 0).to_bytes(3, "little")


PLAIN = b" " * (64 << 20)
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip": ("gzip", lambda: gzip.compress(PLAIN, 1)),
    "deflate": ("deflate", lambda: zlib.compress(PLAIN, 1)),
    "deflate without its frame": ("deflate", lambda: bare(PLAIN)),
    "br": ("br", lambda: brotli.compress(PLAIN, quality=1)),
    "zstd": ("zstd", lambda: zstandard.ZstdCompressor().compress(PLAIN)),
    "zstd of one byte": ("zstd", lambda: zstd_of_one_byte(500_000)),
    "gzip in gzip": ("gzip, gzip", lambda: gzip.compress(gzip.compress(PLAIN, 1))),
    "br in zstd": ("br, zstd", lambda: zstandard.ZstdCompressor().compress(brotli.compress(PLAIN, quality=1))),
    "one byte too many": ("gzip", lambda: gzip.compress(b" " * (LIMIT + 1), 1)),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_stopped_at_the_limit_in_bounded_memory_and_others_have_their_turns(kind: str) -> None:
    header, made = BOMBS[kind]
    bomb = made()
    turns = 0

    async def read(_held: HeldBytes) -> bytes:
        return bomb

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def main() -> ApiError:
        counting, desk = asyncio.create_task(count_turns()), Desk()
        try:
            with pytest.raises(PayloadTooLarge) as caught:
                await decoding(read, codings_of(header.encode()), LIMIT, desk.do)(NOT_COUNTED)
        finally:
            desk.close()
        counting.cancel()
        return caught.value

    tracemalloc.start()
    try:
        refused = asyncio.run(main())
        assert tracemalloc.get_traced_memory()[1] < 6 * LIMIT
    finally:
        tracemalloc.stop()
    assert refused.status == 413
    assert turns > 1 or header == "zstd", "of which one step may be beyond the limit"


@pytest.mark.parametrize(("coding", "coder"), [("gzip", gzip.compress), ("br", brotli.compress)])
@pytest.mark.parametrize(("size", "is_aside"), [(20_000, False), (2_000_000, True)])
def test_all_but_the_first_of_it_is_decoded_beside_the_event_loop(
    coding: str, coder: Coder, size: int, is_aside: bool
) -> None:
    asked = []

    async def read(_held: HeldBytes) -> bytes:
        return coder(b" " * size)

    async def aside(tenant: str, most_bytes: int, work: Callable[[], None]) -> None:
        asked.append((tenant, most_bytes))
        work()

    held = BytesInFlight(4 * LIMIT, 2 * LIMIT).held_for("acme")

    async def decoded() -> bytes:
        with held:
            return await decoding(read, [coding], LIMIT, aside)(held)

    assert len(asyncio.run(decoded())) == size
    assert asked == [("acme", LIMIT)] * is_aside


def test_a_bomb_over_the_socket_is_a_413_and_the_gateway_goes_on(stack: Stack) -> None:
    for header, made in BOMBS.values():
        if len(bomb := made()) < LIMIT:
            answer = stack.post(CHAT, bomb, headers={"Content-Encoding": header})
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "payload_too_large")
    assert stack.post(CHAT, BODY).status_code == 200


SKIPPABLE = b"\x50\x2a\x4d\x18" + bytes(4)
"""A frame of zstd that holds nothing."""
EMPTY = [
    ("gzip", gzip.compress(b"")),
    ("deflate", zlib.compress(b"")),
    ("zstd", streamed_zstd(b"")),
    ("zstd", SKIPPABLE),
]


@pytest.mark.parametrize(("coding", "empty"), EMPTY)
def test_streams_behind_each_other_are_bounded_because_each_is_a_decoder(coding: str, empty: bytes) -> None:
    with pytest.raises(BadRequest, match="256 streams") as caught:
        decode(empty * (LIMIT // len(empty)), coding)
    assert caught.value.code == "invalid_content_encoding"
    assert decode(empty * 100, coding) == b""


def test_a_few_hundred_bytes_cannot_be_half_a_million_streams(stack: Stack) -> None:
    many = zstandard.ZstdCompressor().compress(SKIPPABLE * (LIMIT // len(SKIPPABLE)))
    assert len(many) < 1000
    answer = stack.post(CHAT, many, headers={"Content-Encoding": "zstd, zstd"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_content_encoding")


def test_what_a_parallel_compressor_wrote_is_read() -> None:
    data = bytes(range(256)) * 10_000
    assert decode(b"".join(gzip.compress(data[at : at + 65_280]) for at in range(0, len(data), 65_280)), "gzip") == data


def test_limits_are_of_the_decoded_body(stack: Stack) -> None:
    whole: dict[str, Any] = {"model": "triage", "prompt": "x", "max_tokens": 1}
    padded = orjson.dumps(whole) + b" " * (LIMIT - 200)
    assert stack.post(TEXT, gzip.compress(padded), headers={"Content-Encoding": "gzip"}).status_code == 200
    assert UnsupportedMedia.status == 415
