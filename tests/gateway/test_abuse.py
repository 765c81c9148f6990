"""What nobody should be able to do to the gateway, with a key or without one."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import uvicorn

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.api.fields.grammar_cost import schema_cost
from gateway.engines.managed import ManagedEngine
from gateway.engines.residency import Resident
from gateway.errors import BadRequest
from gateway.fleet import load_turns
from gateway.fleet.eviction import Claims
from gateway.fleet.load_turns import LoadLimits
from gateway.fleet.loading import Loading, Proof
from gateway.serving.protocol import MAX_HEAD_BYTES, BoundedProtocol
from loadtest.ports import free_port
from registry.catalog.snapshot import VersionEntry
from tests.support.fleet_parts import FirstTerm, managed_engine
from tests.support.stack import CHAT, MESSAGES, House, Stack, run_stack
from tests.support.waiting import DEADLINE_S, wait_until, wait_until_async


def request_with(schema: dict[str, Any]) -> bytes:
    output = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    return json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "response_format": output}
    ).encode()


def test_a_schema_whose_grammar_would_stall_the_engine_is_refused() -> None:
    heavy = [{"type": "string", "pattern": f"^[a-z{number}]{{1,1000}}$"} for number in range(20)]
    schema = {"type": "object", "properties": {f"p{number}": one for number, one in enumerate(heavy)}}
    with pytest.raises(BadRequest) as caught:
        DIALECTS["chat"].parse(request_with(schema), caps=Caps(), allow_unknown=False)
    assert caught.value.param == "response_format.json_schema.schema"


def test_an_ordinary_schema_is_not_refused() -> None:
    row = {"type": "object", "properties": {f"p{n}": {"type": "string", "maxLength": 80} for n in range(20)}}
    schema = {"type": "object", "properties": {"rows": {"type": "array", "items": row, "maxItems": 50}}}
    assert schema_cost([schema]) < 100
    DIALECTS["chat"].parse(request_with(schema), caps=Caps(), allow_unknown=False)


def test_a_body_without_a_key_is_not_read(stack: Stack) -> None:
    host, _, port = stack.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"
        client.sendall(head.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 401 ")


def test_a_body_that_says_that_it_is_too_long_is_refused_before_it_comes(stack: Stack) -> None:
    host, _, port = stack.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.house.keys['acme']}\r\n"
        client.sendall(f"{head}Expect: 100-continue\r\nContent-Length: {Caps().max_body_bytes + 1}\r\n\r\n".encode())
        answer = client.recv(1000)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"payload_too_large"' in answer


@pytest.mark.parametrize(
    "framed",
    [
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
        "Transfer-Encoding: identity\r\n\r\nabc",
        "Upgrade: h2c\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    ],
)
def test_a_body_whose_framing_breaks_is_told_so_and_its_places_are_free(stack: Stack, framed: str) -> None:
    host, _, port = stack.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.house.keys['acme']}\r\n{framed}"
        client.sendall(head.encode())
        with client.makefile("rb") as file:
            answer = file.read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"x-request-id") == 1
    assert b'"invalid_http"' in answer
    assert stack.gateway.house is not None
    admission = stack.gateway.house.admission
    wait_until("its place to be free", lambda: not admission.bodies.taken)


def test_a_stranger_whose_framing_breaks_writes_no_faults_of_ours_into_the_log(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, logger="uvicorn.error")
    host, _, port = stack.url.removeprefix("http://").partition(":")
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-nobody\r\n"
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n".encode())
        with client.makefile("rb") as file:
            assert file.read().startswith(b"HTTP/1.1 400 ")
    assert stack.chat("acme/triage").status_code == 200  # what came before it has been dealt with
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("key", ["acme", "nobody"])
def test_a_body_of_very_many_tiny_pieces_ends_its_connection(stack: Stack, key: str) -> None:
    host, _, port = stack.url.removeprefix("http://").partition(":")
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.house.keys.get(key, key)}\r\n"
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        with suppress(ConnectionError):
            client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + b"1\r\n \r\n" * 200_000)
        with suppress(ConnectionError), client.makefile("rb") as file:
            assert file.read().startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(("size", "count"), [(1, 1_800), (64, 20_000)])
def test_a_body_in_ordinary_or_few_pieces_is_read(stack: Stack, size: int, count: int) -> None:
    body = json.dumps({"model": "triage", "messages": MESSAGES, "max_tokens": 1}).encode().ljust(size * count)
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    headers = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    assert stack.http.post(f"{stack.url}{CHAT}", content=pieces, headers=headers).status_code == 200


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/admin/v1/tenants", "/nothing"])
@pytest.mark.parametrize(
    "codings",
    [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "transfer-encoding:deflate,chunked",
        "Transfer-Encoding: x-gzip , Chunked",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: br;q=1, chunked\r\nUpgrade: h2c\r\nConnection: upgrade",
    ],
)
def test_a_body_in_a_transfer_coding_that_is_not_read_is_refused_and_told_which_header(
    stack: Stack, codings: str, path: str
) -> None:
    host, _, port = stack.url.removeprefix("http://").partition(":")
    body = json.dumps({"model": "triage", "messages": MESSAGES})
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.house.keys['acme']}\r\n{codings}\r\n"
        client.sendall(f"{head}\r\n{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode())
        with client.makefile("rb") as file:
            answer = file.read()
    assert answer.startswith(b"HTTP/1.1 501 ")
    counts = [answer.count(part) for part in (b"HTTP/1.1 ", b"x-request-id", b"x-should-retry: false")]
    assert counts == [1, 1, 1]
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert (error["param"], error["code"]) == ("Transfer-Encoding", "unsupported_transfer_encoding")


@pytest.mark.parametrize("coding", ["chunked", "Chunked", " chunked ", ", chunked"])
def test_chunked_is_read_however_it_is_written(stack: Stack, coding: str) -> None:
    host, _, port = stack.url.removeprefix("http://").partition(":")
    body = json.dumps({"model": "triage", "messages": MESSAGES})
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.house.keys['acme']}\r\n"
        head += f"Transfer-Encoding:{coding}\r\n\r\n"
        client.sendall(f"{head}{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_key_behind_the_body_is_none(stack: Stack) -> None:
    host, _, port = stack.url.removeprefix("http://").partition(":")
    body = json.dumps({"model": "triage", "messages": MESSAGES})
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        trailer = f"Authorization: Bearer {stack.house.keys['acme']}"
        client.sendall(f"{head}{len(body):x}\r\n{body}\r\n0\r\n{trailer}\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 401 ")


class Impatient(BoundedProtocol):
    """Waits a fifth of a second for a head."""

    head_timeout_s = 0.2


@asynccontextmanager
async def connected(
    protocol: type[BoundedProtocol],
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server that no request must reach."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("no request was complete")

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, http=protocol, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    await wait_until_async("the server to start", lambda: server.started)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        server.should_exit = True
        await serving


@pytest.mark.parametrize("head", [b"GET /" + b"a" * MAX_HEAD_BYTES, b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEAD_BYTES])
async def test_a_request_head_without_end_is_cut_off(head: bytes) -> None:
    async with connected(BoundedProtocol) as (reader, writer):
        writer.write(head)
        assert (await asyncio.wait_for(reader.read(100), DEADLINE_S)).startswith(b"HTTP/1.1 431 ")


async def test_a_request_head_that_does_not_come_is_not_waited_for() -> None:
    async with connected(Impatient) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost")
        assert await asyncio.wait_for(reader.read(100), DEADLINE_S) == b""


def test_a_stream_that_outlives_the_grace_period_ends_with_an_error_event(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with ThreadPoolExecutor(1) as pool:
        with run_stack(house) as stack:
            stack.faults(token_ms=400)
            body = {"model": "triage", "messages": MESSAGES, "stream": True, "max_tokens": 64, "ignore_eos": True}
            headers = {"Authorization": f"Bearer {house.keys['acme']}"}
            reading = pool.submit(httpx.post, f"{stack.url}{CHAT}", json=body, headers=headers, timeout=DEADLINE_S)
            wait_until("the stream to run", lambda: stack.state()["running"] == 1)
        answer = reading.result()
    *_, error, done, _ = answer.text.split("\n\n")
    assert json.loads(error.removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert done == "data: [DONE]"
    assert [row["outcome"] for row in house.usage()] == ["gateway_stopped"], "and not that its client went away"


def test_a_key_works_as_soon_as_the_gateways_have_acknowledged_it(stack: Stack) -> None:
    registry = stack.house.registry
    key = registry.tenants.create_key("acme").secret
    assert registry.wait_until_served()
    assert stack.chat("triage", key=key).status_code == 200


def test_waiting_for_a_gateway_that_does_not_acknowledge_ends(house: House) -> None:
    house.registry.workers.report("w", "http://nowhere", 0)
    assert not house.registry.wait_until_served(timeout_s=0.1)


class QuietOffice:
    """A controller that has nothing else to load."""

    def preload(self) -> None:
        pass


class LoadingAtTheGate(Loading):
    """Loads end when the gate opens; only a full proof proves."""

    gate: asyncio.Future[None]

    async def _load(self, engine: ManagedEngine, version: VersionEntry, for_swap: bool, _proof: Proof) -> None:
        await self.gate
        engine.residency.resident[version.id] = Resident("a-1", Path(), None, for_swap)


async def test_what_nobody_waits_for_is_not_begun_for_a_tenant_that_must_pause_so_others_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(load_turns, "others_run", lambda *_: True)
    engine, nothing, office = managed_engine("http://127.0.0.1:9"), cast("Any", None), cast("Any", QuietOffice())
    loading = Loading(nothing, nothing, FirstTerm(), Claims(), office, nothing, limits=LoadLimits(1))
    ours, other = (
        VersionEntry(number, f"{tenant}/triage@1.0", tenant, "triage", "1.0", "sha256:0", "sha256:1", None, 0, 1)
        for number, tenant in enumerate(("acme", "globex"), 1)
    )
    assert loading.may_preload(engine, ours)
    loading.turns.on(engine).pace.took("acme", 60.0, time.monotonic())
    assert not loading.may_preload(engine, ours)
    assert loading.may_preload(engine, other)
    await engine.close()


async def test_a_full_proof_asked_for_in_the_turn_in_which_a_plain_load_ends_does_not_spin() -> None:
    engine = managed_engine(f"http://127.0.0.1:{free_port()}")
    nothing: Any = None
    office: Any = QuietOffice()
    loading = LoadingAtTheGate(nothing, nothing, FirstTerm(), Claims(), office, nothing, limits=LoadLimits(1))
    loading.gate = asyncio.get_running_loop().create_future()
    version = VersionEntry(1, "acme/triage@1.0", "acme", "triage", "1.0", "sha256:0", "sha256:1", None, 0, 1)

    async def swap() -> None:
        await loading.gate
        await loading.ensure(engine, version, for_swap=True)

    loading.start(engine, version, for_swap=False, proof=Proof.IF_FREE)
    swapping = asyncio.create_task(swap())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    loading.gate.set_result(None)
    await asyncio.wait_for(swapping, DEADLINE_S)
    assert engine.residency.holds(version.id, fully_proven=True)
    await engine.close()
