"""A client that hangs up: the engine stops generating for it, and the attempt is on record."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from registry.names import parse_ref
from tests.support.fixtures import usual_stack
from tests.support.stack import CHAT, MESSAGES, TEXT, Stack
from tests.support.waiting import DEADLINE_S, wait_until


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The usual stack, in which nothing has a price or a limit: else tokens are counted as they come, in one piece too,
    and none is asked anything but what is asked here.
    """
    with usual_stack(tmp_path_factory.mktemp("left")) as stack:
        yield stack


def asked_of(stack: Stack, version: str) -> int:
    """Requests for a version that have come to the engine. The controller's own questions are about others by now."""
    stack.wait_resident(version)
    wanted = stack.house.registry.adapters.get(parse_ref(version)).id
    name = next(engine.resident[wanted] for engine in stack.worker.view().engines)
    requests: dict[str, int] = stack.state()["requests"]
    return requests.get(name, 0)


def hang_up(stack: Stack, path: str, *, stream: bool, after: bytes | None, behind: str = "") -> bytes:
    """Send a request on a raw socket, and `behind` it what does not wait for the answer; read until `after` has come,
    reset the connection; return what was read.
    """
    prompt = {"messages": MESSAGES} if path == CHAT else {"prompt": "x"}
    body = json.dumps({"model": "triage@1.1", **prompt, "max_tokens": 500, "min_tokens": 500, "stream": stream})
    known = asked_of(stack, "acme/triage@1.1")
    with socket.create_connection((stack.house.settings.host, stack.house.settings.port), timeout=DEADLINE_S) as client:
        client.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.house.keys['acme']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}{behind}".encode()
        )
        got = b""
        while after is not None and after not in got:
            got += client.recv(65_536)
        if after is None:
            wait_until("the engine to begin", lambda: asked_of(stack, "acme/triage@1.1") > known)
    return got


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("behind", ["", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["", "with another behind"])
def test_the_engine_stops_when_the_client_hangs_up_and_the_attempt_is_recorded(
    stack: Stack, path: str, stream: bool, behind: str
) -> None:
    stack.faults(token_ms=20)
    before = stack.state()
    known = {row["attempt_id"] for row in stack.house.usage(outcome="client_aborted")}
    got = hang_up(stack, path, stream=stream, after=b'"index":0' if stream else None, behind=behind)
    wait_until("the engine to notice", lambda: stack.state()["aborted"] == before["aborted"] + 1)
    wait_until("the engine to be idle, also of the controller's own questions", lambda: not stack.state()["running"])
    rows = wait_until(
        "the usage row",
        lambda: [row for row in stack.house.usage(outcome="client_aborted") if row["attempt_id"] not in known],
    )
    assert len(rows) == 1
    assert (rows[0]["tenant"], rows[0]["served_model"]) == ("acme", "acme/triage@1.1")
    assert rows[0]["finished_at_ms"] >= rows[0]["started_at_ms"]
    assert rows[0]["prompt_tokens"] > 0
    if stream:
        assert rows[0]["request_id"] in got.decode()
        assert rows[0]["usage_source"] == "partial"
        assert rows[0]["completion_tokens"] >= got.count(b'"index":0') - 1, "all that was relayed was counted"
    else:
        assert rows[0]["usage_source"] == "estimated"
        assert rows[0]["completion_tokens"] is None, "the engine had not said how much, and nothing unknown is zero"


def test_a_client_that_leaves_while_its_adapter_is_loaded_does_not_stop_the_load(stack: Stack) -> None:
    stack.restart_engine()
    stack.faults(load_ms=300)
    loads = stack.state()["loads"]
    body = json.dumps({"model": "triage@1.2", "messages": MESSAGES})
    with socket.create_connection((stack.house.settings.host, stack.house.settings.port), timeout=DEADLINE_S) as client:
        client.sendall(
            f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.house.keys['acme']}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        wait_until("the load to begin", lambda: stack.controller.loading.tasks)
    wait_until("the load to end", lambda: not stack.controller.loading.tasks)
    assert stack.state()["loads"] > loads
    assert stack.chat("triage@1.2").json()["model"] == "acme/triage@1.2"


def test_nothing_stays_in_flight_when_clients_leave(stack: Stack) -> None:
    stack.faults(token_ms=20)
    for _ in range(5):
        hang_up(stack, CHAT, stream=True, after=b"data: ")
    wait_until("all holds and pins to be given back", lambda: stack.worker.in_flight.total() == 0)
    assert stack.gateway.house is not None
    requests = stack.gateway.house.admission.requests
    wait_until("all places to be free", lambda: requests.taken == 0)
    assert requests.by_tenant == {}
