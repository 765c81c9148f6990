"""The command-line tools, each against the mock engine."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from loadtest import overhead, promote_under_load, run
from loadtest.client import BrokenAnswer, Client
from loadtest.figures import percentile, summary, table
from loadtest.overhead import Target, benchmark
from loadtest.ports import free_port
from loadtest.promote_under_load import Load, RequestTiming, Window, report
from loadtest.testing import MockEngine, run_mock_engine
from tests.support.program import running
from tests.support.waiting import DEADLINE_S, wait_until_async


@pytest.fixture
async def engine() -> AsyncIterator[MockEngine]:
    async with run_mock_engine() as engine:
        yield engine


def last_json(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


def test_percentiles_are_nearest_rank() -> None:
    assert [percentile(range(1, 101), p) for p in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([7.0], 50) == 7.0
    assert summary([]) == {"p50": None, "p95": None, "p99": None}


def test_a_table_aligns_texts_left_and_numbers_right() -> None:
    assert table([{"what": "a", "n": 1}, {"what": "bbbbb", "n": 22}]) == "what    n\na       1\nbbbbb  22"


async def test_the_client_keeps_connections_and_reports_broken_ones(engine: MockEngine) -> None:
    async with Client(engine.url) as client:
        for stream in (False, True, False):
            body = json.dumps({"prompt": "x", "stream": stream}).encode()
            reply = await client.post("/v1/completions", body)
            assert reply.status == 200
            assert 0 < reply.first_byte_s <= reply.total_s
        assert reply.body.endswith(b'"metrics":null}')
        await engine.faults(die_after_chunks=2)
        with pytest.raises(BrokenAnswer):
            await client.post("/v1/completions", body)
        await engine.faults(die_after_chunks=None)
        assert (await client.post("/v1/completions", body)).status == 200


async def test_the_load_test_reports_figures_and_its_last_line_is_json(
    engine: MockEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, out = tmp_path / "keys.json", tmp_path / "out.json"
    keys.write_text(json.dumps([{"key": "k", "models": ["base"]}]))
    flags = ["--url", engine.url, "--keys", str(keys), "--users", "4", "--seconds", "3", "--out", str(out)]
    status = await asyncio.to_thread(run.main, flags)
    result = last_json(capsys.readouterr().out)
    assert status == 0, result
    assert result == json.loads(out.read_text())
    assert (result["failures"], set(result["kinds"])) == (0, {"chat", "chat stream", "text", "text stream"})
    assert result["requests"] == sum(kind["requests"] for kind in result["kinds"].values()) > 10
    assert 0 < result["ttft_ms"]["p50"] <= result["ttft_ms"]["p95"]
    cut_short = (await engine.state())["requests"]["base"] - result["requests"]
    assert cut_short in range(5), "at the end each of the four users may have had one under way"


LATE = """
import sys, time
from types import SimpleNamespace
import gevent
from loadtest import locustfile
gevent.sleep(0.01)
begins_s = time.perf_counter()
while time.perf_counter() - begins_s < 1:
    pass
locustfile.prepare(SimpleNamespace())
begins_s = time.perf_counter()
gevent.spawn_later(0.5, lambda: None).join()
print(time.perf_counter() - begins_s)
"""


def test_the_time_of_a_run_begins_when_all_is_imported_however_long_that_took(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps([{"key": "k", "models": ["base"]}]))
    done = subprocess.run(
        running(LATE),
        env={**os.environ, "SWITCHYARD_LOAD_KEYS": str(keys)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert float(done.stdout) > 0.49


async def test_the_load_test_fails_when_answers_are_wrong(
    engine: MockEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps([{"key": "k", "tenant": "acme", "models": ["base"]}]))
    flags = ["--url", engine.url, "--keys", str(keys), "--users", "1", "--seconds", "1"]
    assert await asyncio.to_thread(run.main, flags) == 1
    result = last_json(capsys.readouterr().out)
    assert result["failures"] == result["requests"] > 0
    assert "asked for 'base' as tenant 'acme', answered by ['base']" in result["failure_examples"]


async def test_overhead_compares_both_targets_in_every_case(engine: MockEngine) -> None:
    async with run_mock_engine(ttft_ms=25) as slower:
        direct, gateway = Target(engine.url, "base"), Target(slower.url, "base", pid=None)
        rows, failures = await benchmark(direct, gateway, requests=20, rounds=1)
        requests = [(await each.state())["requests"]["base"] for each in (engine, slower)]
    assert failures == []
    assert [(row.case, row.concurrency) for row in rows] == [
        ("unstreamed", 1), ("unstreamed", 32), ("52-event stream", 1), ("52-event stream", 32),
    ]  # fmt: skip
    assert rows[0].added_ms > 4
    assert rows[0].ratio > 1
    assert rows[0].gateway_cpu_us is None
    assert requests[0] == requests[1]


async def test_overhead_counts_the_cpu_of_the_given_process(
    engine: MockEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--direct", engine.url, "--gateway", engine.url, "--model", "base", "--pid", str(os.getpid())]
    assert await asyncio.to_thread(overhead.main, [*flags, "--requests", "40", "--rounds", "1"]) == 0
    rows = last_json(capsys.readouterr().out)["rows"]
    assert len(rows) == 4
    assert sum(row["gateway_cpu_us"] for row in rows) > 0


async def test_overhead_counts_a_wrong_answer_as_a_failure(engine: MockEngine) -> None:
    await engine.faults(fail_next=[500] * 3)
    target = Target(engine.url, "base")
    row, failures = await overhead.measure(target, target, stream=False, concurrency=1, requests=10, rounds=1)
    assert (row.failures, len(failures)) == (3, 3)


class FlippingGateway:
    """Answers with a version that POST /flip changes; `mix` names both in one stream."""

    def __init__(self) -> None:
        self.version = "1.0"
        self.mix = False
        self.stubborn = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        parts = [await receive()]
        while parts[-1].get("more_body"):
            parts.append(await receive())
        if scope["path"] == "/flip":
            self.version = "1.0" if self.stubborn else "1.1"
            await self._send(send, b"{}")
            return
        stream = b'"stream"' in b"".join(part["body"] for part in parts)
        begun = self.version
        await asyncio.sleep(0.01)
        documents = [
            {"model": f"acme/support@{version}", "choices": [{"finish_reason": reason}]}
            for version, reason in ((begun, None), ("1.1" if self.mix else begun, "stop"))
        ]
        if stream:
            events = [json.dumps(document) for document in documents] + ["[DONE]"]
            await self._send(send, "".join(f"data: {event}\n\n" for event in events).encode())
        else:
            await self._send(send, json.dumps(documents[0 if self.mix else 1]).encode())

    async def _send(self, send: Any, body: bytes) -> None:
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def flipping() -> AsyncIterator[tuple[FlippingGateway, str]]:
    app, port = FlippingGateway(), free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_level="critical", ws="none"))
    serving = asyncio.create_task(server.serve())
    await wait_until_async("the server to start", lambda: server.started)
    yield app, f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


def promote_flags(url: str, *more: str) -> list[str]:
    flip = f"import urllib.request as u; u.urlopen(u.Request('{url}/flip', data=b'x')).read()"
    flags = ["--url", url, "--key", "k", "--model", "acme/support", "--versions", "1.0,1.1", "--concurrency", "20"]
    return [*flags, "--lead-s", "1", *more, "--", sys.executable, "-c", flip]


async def test_a_clean_promote_under_load_passes(
    flipping: tuple[FlippingGateway, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await asyncio.to_thread(promote_under_load.main, promote_flags(flipping[1])) == 0
    result = last_json(capsys.readouterr().out)
    assert result["passed"]
    assert set(result["phases"]["before"]) == {"1.0"}
    assert set(result["phases"]["after"]) == {"1.1"}
    assert result["requests"] > 60
    assert result["failures"] == 0


async def test_an_old_answer_after_the_command_fails_the_promote(
    flipping: tuple[FlippingGateway, str], capsys: pytest.CaptureFixture[str]
) -> None:
    flipping[0].stubborn = True
    assert await asyncio.to_thread(promote_under_load.main, promote_flags(flipping[1])) == 1
    examples = last_json(capsys.readouterr().out)["failure_examples"]
    assert "after the command, answered by '1.0' instead of 1.1" in examples


async def test_a_stream_of_two_versions_fails_the_promote(
    flipping: tuple[FlippingGateway, str], capsys: pytest.CaptureFixture[str]
) -> None:
    flipping[0].mix = True
    assert await asyncio.to_thread(promote_under_load.main, promote_flags(flipping[1])) == 1
    examples = last_json(capsys.readouterr().out)["failure_examples"]
    assert any("one answer names several models" in text for text in examples)


def test_a_request_may_be_of_either_version_only_while_the_command_ran() -> None:
    window = Window(opened=10.0, closed=12.0, status=0, output="")
    right = [
        RequestTiming(8, 9, "chat", "1.0"),
        RequestTiming(9, 11, "chat", "1.0"),
        RequestTiming(9, 13, "chat", "1.1"),
        RequestTiming(11.9, 14, "chat", "1.0"),
        RequestTiming(12.1, 13, "chat", "1.1"),
    ]
    assert report(right, window, "1.0", "1.1")["passed"]
    for wrong in (
        RequestTiming(8, 9, "chat", "1.1"),
        RequestTiming(12.1, 13, "chat", "1.0"),
        RequestTiming(9, 11, "chat", "0.9"),
    ):
        assert report([*right, wrong], window, "1.0", "1.1")["failures"] == 1
    assert not report(right, Window(10.0, 12.0, 1, ""), "1.0", "1.1")["passed"]
    assert not report(right[:-1], window, "1.0", "1.1")["passed"]


def test_the_default_load_is_200_at_a_time() -> None:
    assert Load("http://x", None, "m").concurrency == 200
