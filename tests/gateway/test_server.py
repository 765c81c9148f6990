"""How a gateway is served: what is the process's, not the path's."""

from __future__ import annotations

import gc
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from gateway.serving.protocol import BoundedProtocol
from gateway.serving.server import Server, server_config
from loadtest.ports import free_port
from tests.support.waiting import DEADLINE_S, wait_until

ENDLESS = 32 << 20
Answer = tuple[int, list[tuple[bytes, bytes]], list[bytes]]
ANSWERS: dict[str, Answer] = {
    "/nothing": (204, [], []),
    "/document": (200, [(b"content-length", b"5"), (b"x-one", b"1")], [b"he", b"llo"]),
    "/stream": (200, [], [b"a", b"bcd"]),
    "/last": (200, [(b"connection", b"close"), (b"content-length", b"0")], []),
    "/short": (200, [(b"content-length", b"9")], [b"short"]),
    "/long": (200, [(b"content-length", b"2")], [b"long"]),
    "/endless": (200, [(b"connection", b"close")], [bytes(1 << 20)] * (ENDLESS >> 20)),
    "/large": (200, [(b"content-length", b"%d" % ENDLESS)], [bytes(ENDLESS)]),
    "/large-and-last": (200, [(b"content-length", b"%d" % ENDLESS), (b"connection", b"close")], [bytes(ENDLESS)]),
    "/split": (200, [(b"x-name", b"v\r\nset-cookie: evil")], [b"x"]),
}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers each path in its own way."""
    if scope["type"] == "lifespan":
        for answer in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
            await receive()
            await send({"type": answer})
        return
    status, headers, chunks = ANSWERS[scope["path"]]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body"})


@pytest.fixture
def port() -> Iterator[int]:
    port = free_port()
    gc.unfreeze()  # so that the server has something to spare
    server = Server(server_config(app, "127.0.0.1", port, grace_s=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until("the server to start", lambda: server.started)
    yield port
    server.should_exit = True
    thread.join(DEADLINE_S)


def said(port: int, *requests: str) -> bytes:
    """All that the server says to these requests on one connection, the last of which closes it; without dates."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        connection.sendall("".join(f"{request}\r\nhost: x\r\n\r\n" for request in requests).encode())
        with connection.makefile("rb") as file:
            return re.sub(rb"date: [^\r]*\r\n", b"", file.read())


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1"


def read_document(connection: socket.socket) -> None:
    """The whole answer of `/document`."""
    answer = b""
    while not answer.endswith(b"hello"):
        piece = connection.recv(1000)
        assert piece, f"the connection ended after {answer!r}"
        answer += piece


def test_answers_are_what_http_wants_one_after_the_other_on_a_connection(port: int) -> None:
    assert said(port, get("/document"), get("/stream"), get("/nothing"), get("/last")) == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-one: 1\r\n\r\nhello"
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n3\r\nbcd\r\n0\r\n\r\n"
        b"HTTP/1.1 204 No Content\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    )


def test_who_asks_for_the_head_gets_the_head(port: int) -> None:
    assert said(port, "HEAD /document HTTP/1.1", "HEAD /stream HTTP/1.1", get("/last")).startswith(
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-one: 1\r\n\r\nHTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nconnection"
    )


def test_an_old_client_is_told_that_the_connection_ends(port: int) -> None:
    assert said(port, "GET /document HTTP/1.0") == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-one: 1\r\nconnection: close\r\n\r\nhello"
    )


def test_an_old_client_gets_a_stream_without_chunks(port: int) -> None:
    assert said(port, "GET /stream HTTP/1.0") == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabcd"


def test_what_cannot_be_read_behind_a_request_ends_the_connection_and_is_not_answered_in_its_answer(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        connection.sendall(f"{get('/endless')}\r\nhost: x\r\n\r\n".encode())
        answer = connection.recv(1000)
        connection.sendall(b"this is no HTTP\r\n\r\n")
        with suppress(ConnectionError):
            while piece := connection.recv(1 << 20):
                answer += piece
    assert answer.count(b"HTTP/1.1") == 1


def test_nobody_is_upgraded(port: int) -> None:
    upgrade = (
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
    )
    assert said(port, f"{get('/last')}\r\n{upgrade}").startswith(b"HTTP/1.1 200 OK\r\nconnection: close\r\n")


def test_a_client_that_reads_nothing_is_gone_after_a_while_and_a_slow_one_is_not(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedProtocol, "reads_within_s", 0.6)
    for pauses_s, whole in (([0.1] * 8, True), ([2.0], False)):
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
            connection.sendall(f"{get('/endless')}\r\nhost: x\r\n\r\n".encode())
            read = 0
            with suppress(ConnectionError):
                for pause_s in pauses_s:
                    time.sleep(pause_s)
                    read += len(connection.recv(2 << 20))
                while piece := connection.recv(2 << 20):
                    read += len(piece)
            assert (read > ENDLESS) == whole


@pytest.mark.parametrize("path", ["/large", "/large-and-last"])
def test_the_end_of_an_answer_has_to_be_read_too(port: int, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(BoundedProtocol, "reads_within_s", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        connection.sendall(f"{get(path)}\r\nhost: x\r\n\r\n".encode())
        time.sleep(1.0)
        read = 0
        with suppress(ConnectionError):
            while piece := connection.recv(2 << 20):
                read += len(piece)
        assert read < ENDLESS


def test_a_line_break_in_a_header_makes_no_second_header(port: int) -> None:
    answer = said(port, get("/split"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"evil" not in answer


@pytest.mark.parametrize("path", ["/short", "/long"])
def test_a_body_of_another_length_than_was_said_ends_the_connection(port: int, path: str) -> None:
    answer = said(port, get(path), get("/document"))
    assert b"hello" not in answer
    assert not answer.endswith(b"long")


POST_CHUNKED = b"POST /document HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "rest"),
    [
        pytest.param(f"{get('/document')}\r\nhost: x\r\n\r\n".encode(), b"G", id="of the second head"),
        pytest.param(f"{get('/document')}\r\nhost: x\r\n\r\n".encode(), b"\r\n", id="of empty lines"),
        pytest.param(b"POST /document HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n", b"x", id="of a body"),
        pytest.param(POST_CHUNKED, b"0\r\na: b\r\n", id="of trailers"),
    ],
)
def test_after_an_answer_the_rest_does_not_have_for_ever(
    port: int, monkeypatch: pytest.MonkeyPatch, request_: bytes, rest: bytes
) -> None:
    monkeypatch.setattr(BoundedProtocol, "head_timeout_s", 0.3)
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        connection.sendall(request_)
        read_document(connection)
        began_s = time.monotonic()
        with suppress(ConnectionError):
            for _ in range(300):
                connection.sendall(rest[:1])
                time.sleep(0.1)
                rest = rest[1:] or rest
                if not connection.recv(1000, socket.MSG_DONTWAIT):
                    break
        assert time.monotonic() - began_s < 15


def test_a_rest_that_was_in_time_leaves_the_connection_open(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "head_timeout_s", 1.5)
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        for _ in range(5):
            connection.sendall(b"POST /document HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n")
            read_document(connection)
            time.sleep(0.35)
            connection.sendall(b"123456789")
        connection.sendall(f"{get('/document')}\r\nhost: x\r\n\r\n".encode())
        read_document(connection)


@pytest.mark.parametrize(
    "rest", [b"0\r\n" + b"a: b\r\n" * 200_000, b"0\r\na: " + b"b" * 1_000_000, b"1;" + b"x" * 1_000_000]
)
def test_what_is_around_a_body_is_bounded(port: int, rest: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        connection.sendall(POST_CHUNKED)
        read_document(connection)
        began_s = time.monotonic()
        with suppress(ConnectionError):
            connection.sendall(rest)
            assert connection.recv(1000) == b""
        assert time.monotonic() - began_s < BoundedProtocol.head_timeout_s / 2, "it was not the clock"


def test_requests_that_wait_for_their_turn_on_a_connection_are_bounded(port: int) -> None:
    request = f"{get('/document')}\r\nhost: x\r\n\r\n".encode()
    answers = b""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection, suppress(ConnectionError):
        connection.sendall(request * 5_000)
        while piece := connection.recv(1 << 20):
            answers += piece
    assert answers.count(b"hello") < 5_000


def test_a_round_of_the_garbage_collector_does_not_visit_what_was_there_when_the_server_had_started(port: int) -> None:
    assert httpx.get(f"http://127.0.0.1:{port}/nothing").status_code == 204  # served after all that a start has to do
    assert gc.get_freeze_count() > 10 * len(gc.get_objects())
