"""Requests leave no rings of objects behind: they would stay in memory until the garbage collector finds them, while
nobody is served.
"""

from __future__ import annotations

import gc
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.fixtures import usual_stack
from tests.support.stack import CHAT, Stack
from tests.support.waiting import DEADLINE_S, wait_until

TIMES = 5
OF_REQUESTS = (
    *("gateway.path", "gateway.steps.", "gateway.api.", "gateway.serving.", "gateway.tries", "gateway.handoffs"),
    *("gateway.engines.engine_socket", "gateway.errors", "gateway.responses."),
    *("gateway.billing", "gateway.bytes_in_flight", "gateway.fleet.line", "gateway.limits.limits", "uvicorn."),
)
"""Modules whose objects only requests make: what asks how engines are leaves rings of httpx's."""


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The usual stack, which serves nobody else."""
    with usual_stack(tmp_path_factory.mktemp("rings")) as stack:
        yield stack


def chat(stack: Stack) -> None:
    stack.chat("acme/triage").raise_for_status()


def stream(stack: Stack) -> None:
    stack.chat("acme/triage", stream=True).raise_for_status()


def response(stack: Stack) -> None:
    body = {"model": "acme/triage", "input": "My parcel is late.", "max_output_tokens": 4}
    stack.post("/v1/responses", body).raise_for_status()


def bad_body(stack: Stack) -> None:
    assert stack.chat("acme/triage", temperature="hot").status_code == 400


def bad_head(stack: Stack) -> None:
    assert stack.chat("acme/triage", headers={"X-Api-Key": "another"}).status_code == 400


def unknown_model(stack: Stack) -> None:
    assert stack.chat("acme/none").status_code == 404


def wrong_key(stack: Stack) -> None:
    assert stack.chat("acme/triage", "sk-none").status_code == 401


def refused_by_the_engine(stack: Stack) -> None:
    answer = stack.chat("acme/triage", max_tokens=1_000_000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")


def models(stack: Stack) -> None:
    assert stack.http.get(f"{stack.url}/healthz").status_code == 200


def leaves(stack: Stack) -> None:
    """Its client goes in the middle of a stream."""
    stack.faults(token_ms=20)
    at = urlsplit(stack.url)
    body = b'{"model":"acme/triage","messages":[{"role":"user","content":"x"}],"max_tokens":500,"stream":true}'
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.house.keys['acme']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((at.hostname, at.port), timeout=DEADLINE_S) as client:
        client.sendall(head.encode() + body)
        assert client.recv(64)


@pytest.mark.parametrize(
    "ask",
    [chat, stream, response, bad_body, bad_head, unknown_model, wrong_key, refused_by_the_engine, models, leaves],
)
def test_requests_leave_no_rings_behind(stack: Stack, ask: Callable[[Stack], None]) -> None:
    assert _left_by(stack, ask) == {}


def _left_by(stack: Stack, ask: Callable[[Stack], None]) -> Counter[str]:
    """What is in rings after some requests, by what it is."""
    assert stack.gateway.house is not None
    metrics = stack.gateway.house.metrics
    ask(stack)  # what is made once
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(TIMES):
            ask(stack)
        wait_until("all of them to have ended", lambda: not metrics.in_flight)
        gc.collect()
        return Counter(named for one in gc.garbage if (named := _named(one)).startswith(OF_REQUESTS))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _named(one: Any) -> str:
    """By its module: of a frame or a coroutine that of its code."""
    code = getattr(one, "cr_code", None) or getattr(one, "f_code", None)
    if code is not None:
        _, at, rest = code.co_filename.rpartition("/gateway/")
        return f"{at[1:]}{rest}".replace("/", ".").replace(".py", f".{code.co_qualname}")
    return f"{type(one).__module__}.{type(one).__qualname__}"
