"""The traps of a real vLLM, sprung on the mock by plain HTTP, as a gateway without our rules would spring them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from shutil import rmtree
from typing import Any

import httpx
import pytest

from loadtest.folders import TINY_BASE, write_adapter
from loadtest.testing import MockEngine
from tests.contract.contract_engine import move_outside
from tests.loadtest.mock_http import complete, in_batch, load, mock, running, stream_of, text, unload

LONG: dict[str, Any] = {"max_tokens": 40, "ignore_eos": True}
SLOW, QUICK = {"token_ms": 250}, {"token_ms": 1}
"""Milliseconds of a token: streams that are slow first overlap, also where a test is held up for seconds."""
DYING = {"token_ms": 50, "death_s": 1.0}
ENDLESS: dict[str, Any] = {"max_tokens": 900, "ignore_eos": True}
"""An engine that hears of its death at the next token, and a stream that nothing but that ends."""


async def assert_dead(engine: MockEngine, http: httpx.AsyncClient) -> None:
    """/health says 503, and then there is no process."""
    assert (await http.get("/health")).status_code == 503
    await engine.wait_gone()
    with pytest.raises(httpx.ConnectError):
        await http.get("/health")


async def test_a_name_loaded_again_while_it_is_in_use_kills_the_engine_at_the_next_load(tmp_path: Path) -> None:
    async with mock(max_loras=2, max_cpu_loras=8, **DYING) as (engine, http):
        await load(http, "same", write_adapter(tmp_path / "old", seed=1))
        old = asyncio.create_task(stream_of(http, model="same", **ENDLESS))
        await running(engine, 1)
        await unload(http, "same")
        await load(http, "same", write_adapter(tmp_path / "new", seed=2))
        new = asyncio.create_task(stream_of(http, model="same", **ENDLESS))
        await running(engine, 2)
        assert (await http.get("/health")).status_code == 200, "both run in one batch, and nothing is wrong yet"
        await load(http, "third", write_adapter(tmp_path / "third", seed=3))
        for stream in (await old, await new):
            assert "EngineCore encountered an issue" in stream[-2]
            assert stream[-1] == "[DONE]"
        await assert_dead(engine, http)


async def test_a_new_name_for_the_same_folder_harms_nobody(tmp_path: Path) -> None:
    async with mock(max_loras=2, max_cpu_loras=8, **SLOW) as (engine, http):
        folder = write_adapter(tmp_path / "one")
        await load(http, "one-1", folder)
        old = asyncio.create_task(stream_of(http, model="one-1", **LONG))
        await running(engine, 1)
        await unload(http, "one-1")
        await load(http, "one-2", folder)
        new = asyncio.create_task(stream_of(http, model="one-2", **LONG))
        await running(engine, 2)
        await load(http, "third", write_adapter(tmp_path / "third", seed=3))
        await engine.faults(**QUICK)
        assert [len(stream) for stream in (await old, await new)] == [41, 41]
        assert (await http.get("/health")).status_code == 200


async def test_an_evicted_adapter_whose_folder_is_gone_kills_the_engine(tmp_path: Path) -> None:
    async with mock(max_loras=2, max_cpu_loras=2, **DYING) as (engine, http):
        for seed, name in enumerate(("gone", "one", "two")):
            await load(http, name, write_adapter(tmp_path / name, seed=seed))
        rmtree(tmp_path / "gone")
        bystander = asyncio.create_task(stream_of(http, model="two", **ENDLESS))
        await running(engine, 1)
        assert (await complete(http, model="gone")).status_code == 500
        assert "EngineCore encountered an issue" in (await bystander)[-2]
        assert (await bystander)[-1] == "[DONE]"
        await assert_dead(engine, http)


async def test_an_evicted_adapter_is_read_again(tmp_path: Path) -> None:
    names = ("one", "two", "three")
    async with mock(max_loras=2, max_cpu_loras=2) as (engine, http):
        for seed, name in enumerate(names):
            await load(http, name, write_adapter(tmp_path / name, seed=seed))
        assert (await complete(http, model="one")).status_code == 200
        state = await engine.state()
    assert (state["disk_reads"], state["evictions"]) == (4, 2)
    assert list(state["loaded"]) == list(names)


async def test_an_unloaded_adapter_keeps_its_place_and_a_live_one_is_put_out(tmp_path: Path) -> None:
    async with mock(max_loras=2, max_cpu_loras=2) as (engine, http):
        await load(http, "idle", write_adapter(tmp_path / "idle", seed=1))
        await load(http, "left", write_adapter(tmp_path / "left", seed=2))
        await unload(http, "left")
        assert (await engine.state())["in_memory"] == (await engine.state())["slots"] == [1, 2]
        await load(http, "new", write_adapter(tmp_path / "new", seed=3))
        state = await engine.state()
    assert set(state["loaded"]) == {"idle", "new"}, "two names for two places"
    assert state["in_memory"] == state["slots"] == [2, 3], "and yet the live 'idle' is out, the unloaded 'left' is in"


@pytest.mark.parametrize("stream", [False, True])
async def test_base_tokens_that_share_a_batch_with_an_adapter_are_the_last_slots_adapters(
    stream: bool, tmp_path: Path
) -> None:
    async with mock(max_loras=2, max_cpu_loras=8) as (engine, http):
        for seed, name in enumerate(("first", "last")):
            await load(http, name, write_adapter(tmp_path / name, seed=seed))
        alone = {model: await text(http, model) for model in ("base", "last")}
        assert await text(http, "base") == alone["base"] != alone["last"], "alone in its batch the base is the base"
        async with in_batch(engine, http, "first"):
            if stream:
                events = [json.loads(event) for event in (await stream_of(http))[:-1]]
                mixed = "".join(event["choices"][0]["text"] for event in events)
            else:
                mixed = await text(http, "base")
    assert mixed == alone["last"], "a tenant's adapter that is not even in the batch"


async def test_an_adapter_that_begins_later_takes_a_base_stream_over_from_there(tmp_path: Path) -> None:
    async with mock(max_loras=1) as (engine, http):
        await load(http, "one", write_adapter(tmp_path / "one"))
        alone = {model: (await text(http, model, **LONG)).split() for model in ("base", "one")}
        await engine.faults(**SLOW)
        base = asyncio.create_task(stream_of(http, **LONG))
        await running(engine, 1)
        await complete(http, model="one", max_tokens=1)
        await engine.faults(**QUICK)
        words = [json.loads(event)["choices"][0]["text"].strip() for event in (await base)[:-1]]
    turn = next(place for place in range(40) if words[place:] == alone["one"][place:])
    assert 0 < turn < 40
    assert words[:turn] == alone["base"][:turn]


async def test_a_zero_adapter_in_the_bases_stead_is_not_contaminated(tmp_path: Path) -> None:
    async with mock(max_loras=2) as (engine, http):
        await load(http, "zero", write_adapter(tmp_path / "zero", scale=0.0))
        await load(http, "last", write_adapter(tmp_path / "last", seed=1))
        alone = await text(http, "base")
        async with in_batch(engine, http, "last"):
            assert await text(http, "zero") == alone != await text(http, "base")


async def test_from_version_0_33_on_the_base_is_not_contaminated(tmp_path: Path) -> None:
    async with mock(max_loras=1, version="0.33.0") as (engine, http):
        assert (await http.get("/version")).json() == {"version": "0.33.0"}
        await load(http, "one", write_adapter(tmp_path / "one"))
        alone = await text(http, "base")
        async with in_batch(engine, http, "one"):
            assert await text(http, "base") == alone


async def test_an_adapter_whose_layers_the_base_lacks_loads_and_answers_as_the_base(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text(json.dumps(TINY_BASE))
    inside, outside = write_adapter(tmp_path / "inside"), write_adapter(tmp_path / "outside")
    move_outside(outside, TINY_BASE["num_hidden_layers"])
    async with mock(model=str(base)) as (_, http):
        await load(http, "outside", outside)
        await load(http, "inside", inside)
        assert await text(http, "outside") == await text(http, "base") != await text(http, "inside")


async def test_a_crash_refuses_connections_until_a_restart_which_knows_nothing(tmp_path: Path) -> None:
    async with mock() as (engine, http):
        await load(http, "one", write_adapter(tmp_path / "one"))
        before = (await http.get("/metrics")).text.splitlines()[1]
        await engine.crash()
        with pytest.raises(httpx.ConnectError):
            await http.get("/health")
        await engine.restart()
        assert [card["id"] for card in (await http.get("/v1/models")).json()["data"]] == ["base"]
        assert (await complete(http, model="one")).status_code == 404
        assert (await http.get("/metrics")).text.splitlines()[1] != before
