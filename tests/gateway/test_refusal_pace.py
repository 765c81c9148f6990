"""Tenants that are refused for their own load: how fast they hear of it, and that nobody else waits."""

from __future__ import annotations

import asyncio
import heapq
import json
import logging
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import pairwise
from typing import Any

import pytest

from gateway.limits import refusal_pace
from gateway.limits.refusal_pace import Paced, RefusalPace
from gateway.serving.protocol import BoundedProtocol
from tests.support.stack import CHAT, MESSAGES, Stack, open_house, run_stack
from tests.support.waiting import DEADLINE_S, wait_until

AT_ONCE = 5
FLOOD = "flood"


@pytest.fixture
def paced(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A gateway that refuses five requests of a tenant at once, and the next ones in a quarter of an hour. Each tenant
    has a key that may send no requests.
    """
    monkeypatch.setattr(refusal_pace, "BURST_S", 1_000.0 * AT_ONCE)
    monkeypatch.setattr(refusal_pace, "LATE_S", 10_000.0)
    monkeypatch.setattr(refusal_pace, "LOG_EVERY_S", 0.05)
    with open_house(tmp_path_factory.mktemp("paced")) as house:
        for name in (FLOOD, "acme"):
            house.tenant(name)
            house.publish(f"{name}/triage")
            house.point(f"{name}/triage", "1.0")
            key = house.registry.tenants.create_key(name)
            house.keys[f"{name}, refused"] = key.secret
            house.registry.limits.set(f"key:{key.id}", {"requests_per_minute": 0})
        with run_stack(house, refusals_per_second=0.001, request_log="json") as stack:
            yield stack


def waiting(stack: Stack, tenant: str = FLOOD) -> int:
    assert stack.gateway.house is not None
    known = stack.gateway.house.pace._tenants.get(tenant)
    return 0 if known is None else known.waiting


def refuse_at_once(stack: Stack, tenant: str = FLOOD) -> None:
    """Have all refusals that are heard at once."""
    answers = [stack.chat("triage", f"{tenant}, refused") for _ in range(AT_ONCE)]
    assert [one.status_code for one in answers] == [429] * AT_ONCE


def sent(stack: Stack, data: bytes) -> socket.socket:
    host, _, port = stack.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=DEADLINE_S)
    connection.sendall(data)
    return connection


def request(stack: Stack, path: str = CHAT) -> bytes:
    """One that is refused."""
    body = json.dumps({"model": "triage", "messages": MESSAGES, "max_tokens": 1}) if path == CHAT else ""
    method = "POST" if path == CHAT else "GET"
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.house.keys[f'{FLOOD}, refused']}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def test_who_is_refused_faster_than_it_may_hear_waits_and_nobody_else_does(
    paced: Stack, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    refuse_at_once(paced)
    with ExitStack() as open_ones:
        paths = [CHAT, CHAT, "/v1/models"]
        late = [open_ones.enter_context(closing(sent(paced, request(paced, path)))) for path in paths]
        wait_until("all of them to wait", lambda: waiting(paced) == len(paths))
        assert paced.chat("triage", FLOOD).status_code == 200, "what is served never waits"
        refuse_at_once(paced, "acme")
        assert waiting(paced) == len(late)
        series = f"switchyard_slowed_refusals_total {len(paths)}"
        metrics = f"{paced.url}/metrics"
        wait_until("them to be told", lambda: series in paced.http.get(metrics, headers=paced.operator).text)
        with caplog.at_level(logging.WARNING, "switchyard.refusals"):
            wait_until("a line in the log", lambda: f"3 of them to {FLOOD}" in caplog.text)
    wait_until("those to be gone whose clients are", lambda: waiting(paced) == 0)
    lines: list[dict[str, Any]] = []

    def read() -> bool:
        lines.extend(json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{"))
        return Counter(line["status"] for line in lines) >= Counter({200: 1, 429: 2 * AT_ONCE})

    wait_until("the request log", read)
    assert sum(line["status"] == 200 for line in lines) == 1
    assert sum(line["status"] == 429 for line in lines) == 2 * AT_ONCE


def test_of_what_is_pipelined_one_refusal_waits_at_a_time(paced: Stack) -> None:
    refuse_at_once(paced)
    with closing(sent(paced, request(paced) * 10)):
        wait_until("one to wait", lambda: waiting(paced) == 1)
        with closing(sent(paced, request(paced))):
            wait_until("another connection's too", lambda: waiting(paced) == 2)
    wait_until("both to be gone", lambda: waiting(paced) == 0)


def test_a_refusal_that_waits_keeps_nothing_of_its_body_and_reads_nothing_of_it(paced: Stack) -> None:
    refuse_at_once(paced)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {paced.house.keys[f'{FLOOD}, refused']}\r\n"
    with closing(sent(paced, f"{head}Content-Length: 4000000\r\n\r\n".encode() + b" " * 60_000)):
        wait_until("it to wait", lambda: waiting(paced) == 1)
        guest = next(iter(BoundedProtocol.crowd.held_back))
        protocol: Any = guest._transport.get_protocol()
        assert not protocol.transport.is_reading()
        assert protocol.cycle.body == b""
        protocol.loop.call_soon_threadsafe(guest.turn_out)
        wait_until("it to be gone", lambda: waiting(paced) == 0)


async def test_a_refusal_that_was_late_is_heard_whole_and_its_tenant_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refusal_pace, "BURST_S", 0.3)  # of one, and not of two
    counted: list[int] = []
    held: list[Any] = []
    pace = RefusalPace(5.0, lambda: counted.append(1))
    async with asyncio.timeout(DEADLINE_S):
        late = await asyncio.gather(*(pace.take("acme", held.append) for _ in range(4)))
        assert late == [False, True, True, True]
        assert [call is None for call in held] == [False] * 3 + [True] * 3
        while pace._tenants:
            await asyncio.sleep(0.01)
    assert len(counted) == 3


async def test_a_server_that_stops_tells_refusals_at_once() -> None:
    pace = RefusalPace(0.001, lambda: None)
    assert not await pace.take("acme", lambda _call: None)
    waits = asyncio.create_task(pace.take("acme", lambda _call: None))
    await asyncio.sleep(0)
    waits.cancel()
    assert await waits is True


def heard(clients: int, per_s: float, seconds: float) -> list[float]:
    """When refusals are heard, by clients that ask again at once."""
    one, times = Paced(per_s), list[float]()
    due = [(0.0, False)] * clients
    while due[0][0] < seconds:
        now_s, was_late = heapq.heappop(due)
        times.append(now_s)
        one.waiting -= was_late
        late_s = one.late_s(now_s)
        one.waiting += late_s > 0
        heapq.heappush(due, (now_s + late_s + 1e-3, late_s > 0))
    return times


@pytest.mark.parametrize(
    ("clients", "rate"), [(1, 50), (12, 50), (50, 50), (128, 128), (200, 200), (1_000, 200), (5_000, 200)]
)
def test_however_many_ask_again_at_once_few_are_heard_and_those_are_spread(clients: int, rate: int) -> None:
    times = [at_s for at_s in heard(clients, 50.0, 160.0) if at_s >= 110.0]
    assert len(times) / 50 == pytest.approx(rate, rel=0.1)
    in_20_ms = Counter(int(at_s * 50) for at_s in times)
    assert max(in_20_ms.values()) <= rate / 50 + 8, "no burst"
    assert max(later - earlier for earlier, later in pairwise(times)) < 0.2


def test_who_backs_off_is_never_late() -> None:
    one = Paced(50.0)
    assert not any(one.late_s(second + client / 1000) for second in range(100) for client in range(50))


def test_clients_that_leave_make_nobody_wait_for_long() -> None:
    one = Paced(50.0)
    for _ in range(100_000):
        one.late_s(0.0)
    assert one.late_s(0.0) <= 2.0
    assert one.late_s(10.0) == 0.0
