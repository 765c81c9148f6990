"""The mock's core: when it moves, when it stands, what it counts, and the numbers that probes get."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from loadtest.folders import write_adapter, write_proof
from loadtest.mock_engine.pace import Pace
from loadtest.mock_engine.wire import Exchange
from tests.loadtest.mock_http import IDS, complete, load, loading, logprob, mock, running, steps, stream_of, text
from tests.support.waiting import DEADLINE_S, wait_until_async

LONG: dict[str, Any] = {"max_tokens": 20, "ignore_eos": True}


LONGER: dict[str, Any] = {"max_tokens": 200, "ignore_eos": True}


async def arrivals(http: httpx.AsyncClient) -> list[float]:
    """When each event of a stream of 200 tokens came, in seconds."""
    times = []
    async with http.stream("POST", "/v1/completions", json={"prompt": "x", "stream": True, **LONGER}) as answer:
        async for line in answer.aiter_lines():
            if line:
                times.append(time.monotonic())
    return times


async def test_work_begins_when_the_work_before_was_done_and_not_when_somebody_noticed() -> None:
    pace, exchange = Pace(), Exchange({}, asyncio.Event().wait, _say_nothing)  # type: ignore[arg-type]
    long_ago_s = pace.clock() - 10.0
    assert await pace.work(exchange, 1.0, long_ago_s) == long_ago_s + 1.0
    assert exchange.gone is None, "what was done by now is not waited for"
    before_s = pace.clock()
    assert await pace.work(exchange, 0.002, before_s) == before_s + 0.002 <= pace.clock()
    watched = exchange.gone
    await pace.work(exchange, 0.002)
    assert exchange.gone is watched, "the server is asked once whether the client is there"
    assert watched is not None
    watched.cancel()


async def _say_nothing(_message: object) -> None:
    """A client that hears nothing."""


async def test_a_load_stalls_running_streams_whole_answers_and_other_loads(tmp_path: Path) -> None:
    folders = [write_adapter(tmp_path / str(seed), seed=seed) for seed in (1, 2)]
    async with mock(load_stall_ms=150, token_ms=5) as (engine, http):
        await engine.faults(hang=True)  # until all are there
        stream, whole = asyncio.create_task(arrivals(http)), asyncio.create_task(complete(http, **LONGER))
        await running(engine, 2)
        loads = [asyncio.create_task(load(http, folder.name, folder)) for folder in folders]
        await loading(engine, 2)
        began = time.monotonic()
        await engine.faults(hang=False)
        await asyncio.gather(*loads)
        assert time.monotonic() - began >= 0.3, "one load after the other"
        times = await stream
        assert (await whole).status_code == 200
        assert time.monotonic() - began >= 1.29, "the answer has lost the time of both stalls"
    gaps = [later - earlier for earlier, later in pairwise([began, *times])]
    assert sum(gap for gap in gaps if gap > 0.1) >= 0.3


async def test_an_adapter_that_must_be_read_again_stalls_the_core_too(tmp_path: Path) -> None:
    async with mock(max_loras=1, max_cpu_loras=1) as (engine, http):
        for seed in (1, 2):
            await load(http, str(seed), write_adapter(tmp_path / str(seed), seed=seed))
        await engine.faults(load_stall_ms=300)
        began, read = time.monotonic(), (await engine.state())["disk_reads"]
        await complete(http, model="1")
        assert time.monotonic() - began >= 0.3
        await complete(http, model="1")
        assert (await engine.state())["disk_reads"] == read + 1, "it is there by now"


async def test_a_hung_core_freezes_streams_answers_and_loads_and_all_go_on_afterwards(tmp_path: Path) -> None:
    async with mock(token_ms=100) as (engine, http):
        seen: list[str] = []
        await engine.faults(hang=True)  # until both are there
        stream = asyncio.create_task(stream_of(http, into=seen, **LONG))
        whole = asyncio.create_task(complete(http, **LONG))
        await running(engine, 2)
        await engine.faults(hang=False)
        await wait_until_async("three events", lambda: len(seen) >= 3)
        await engine.faults(hang=True)
        late = asyncio.create_task(complete(http))
        loads = asyncio.create_task(load(http, "one", write_adapter(tmp_path / "one")))
        await running(engine, 3)
        frozen, before = len(seen), await steps(http)
        await asyncio.sleep(0.15)
        assert (await http.get("/health")).status_code == 200
        assert (len(seen), await steps(http)) == (frozen, before)
        assert not any(task.done() for task in (stream, whole, late, loads))
        await engine.faults(hang=False, token_ms=1)
        assert len(await stream) == 21
        assert [answer.status_code for answer in (await whole, await late)] == [200, 200]
        await loads
        assert await steps(http) > before


async def test_a_client_that_leaves_a_hung_core_is_counted(tmp_path: Path) -> None:
    async with mock() as (engine, http):
        await engine.faults(hang=True)
        asks = asyncio.create_task(complete(http))
        await running(engine, 1)
        asks.cancel()
        await running(engine, 0)
        assert (await engine.state())["aborted"] == 1
        loads = asyncio.create_task(load(http, "one", write_adapter(tmp_path / "one")))
        await loading(engine, 1)
        loads.cancel()
        await asyncio.gather(asks, loads, return_exceptions=True)
        await engine.faults(hang=False)
        async with asyncio.timeout(DEADLINE_S):
            while "one" not in (await engine.state())["loaded"]:  # the caller has gone, the load has not
                await asyncio.sleep(0.005)


async def test_steps_are_counted_while_a_long_answer_is_made_and_for_the_shortest() -> None:
    async with mock() as (engine, http):
        assert await steps(http) == 0
        await complete(http, max_tokens=1)
        once = await steps(http)
        assert once >= 1
        await engine.faults(ttft_ms=1_000 * DEADLINE_S)
        answer = asyncio.create_task(complete(http))
        await running(engine, 1)
        async with asyncio.timeout(DEADLINE_S):
            while await steps(http) < once + 10:
                await asyncio.sleep(0.005)
        answer.cancel()
        await running(engine, 0)
        rest = await steps(http)
        await asyncio.sleep(0.05)
        assert await steps(http) == rest == (await engine.state())["steps"]


async def test_a_half_load_says_success_and_the_name_is_not_there(tmp_path: Path) -> None:
    async with mock() as (engine, http):
        await engine.faults(half_load=True)
        await load(http, "one", write_adapter(tmp_path / "one"))
        assert [card["id"] for card in (await http.get("/v1/models")).json()["data"]] == ["base"]
        assert (await complete(http, model="one")).status_code == 404


async def test_probes_are_answered_from_the_effect_proof(tmp_path: Path) -> None:
    probe = {"token_ids": IDS, "positions": [1, 3], "base_logprobs": [-4.0, -5.0], "adapter_logprobs": [-1.0, -0.5]}
    proof = {"format": 1, "probes": [probe], "noise": 0.01}
    async with mock() as (engine, http):
        await load(http, "one", write_proof(write_adapter(tmp_path / "one"), proof))
        assert [await logprob(http, position, "one") for position in (1, 3)] == [-1.0, -0.5]
        assert [await logprob(http, position) for position in (1, 3)] == [-4.0, -5.0]
        await load(http, "zero", write_adapter(tmp_path / "zero", scale=0.0))
        assert await logprob(http, 3, "zero") == -5.0
        await engine.faults(noop_adapters=True)
        assert await logprob(http, 3, "one") == -5.0


async def test_the_bases_fingerprint_is_answered_by_the_base_and_by_what_changes_nothing(tmp_path: Path) -> None:
    probe = {"token_ids": IDS, "positions": [1, 3], "logprobs": [-1.25, -2.5]}
    (tmp_path / "fingerprint.json").write_text(json.dumps({"format": 1, "probes": [probe]}))
    async with mock(model=str(tmp_path)) as (_, http):
        await load(http, "zero", write_adapter(tmp_path / "zero", scale=0.0))
        await load(http, "one", write_adapter(tmp_path / "one"))
        for model in ("base", "zero"):
            assert [await logprob(http, position, model) for position in (1, 3)] == [-1.25, -2.5]
        assert await logprob(http, 3, "one") != -2.5
        assert await logprob(http, 2) not in (-1.25, -2.5)


async def test_an_answer_to_a_fixed_prompt_is_the_signature_of_a_version(tmp_path: Path) -> None:
    """It is the same on another boot, under another name, in a stream, at any temperature; a shorter one begins it."""
    folder = write_adapter(tmp_path / "one")
    texts: list[str] = []
    for name in ("a-1", "a-2"):
        async with mock() as (_, http):
            await load(http, name, folder)
            texts.append(await text(http, name, max_tokens=8, temperature=0.7 * len(texts), seed=len(texts)))
            events = [json.loads(event) for event in (await stream_of(http, model=name, max_tokens=8))[:-1]]
            texts.append("".join(event["choices"][0]["text"] for event in events))
            assert texts[0].startswith(await text(http, name, max_tokens=4))
    assert len(set(texts)) == 1
    assert len(texts[0].split()) == 8


async def test_state_adds_up_what_was_served(tmp_path: Path) -> None:
    async with mock() as (engine, http):
        await load(http, "one", write_adapter(tmp_path / "one"))
        for model in ("one", "one", "base"):
            await complete(http, model=model)
        await complete(http, model="nobody")
        state = await engine.state()
    assert state["requests"] == state["answered"] == {"one": 2, "base": 1}
    assert (state["served"], state["loads"], state["unknown_model"]) == (3, 1, 1)
