"""Every outcome of the engine's control routes, on the mock engine and on servers that answer what no vLLM does."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.engines.effect import strength
from gateway.engines.faults import (
    AdapterRejected,
    EngineFault,
    LoadingDisabled,
    NotVisible,
    ProbeRefused,
    Unintelligible,
    Unreachable,
)
from gateway.engines.transport import MOST_BYTES
from gateway.engines.vllm.control import VllmControl
from gateway.engines.zero_adapter import write_zero_adapter
from loadtest.folders import write_adapter, write_proof
from loadtest.ports import free_port
from loadtest.testing import MockEngine, run_mock_engine
from registry.adapters.effect_proof import Difference, Probe, read_proof
from registry.bases.model import describe_base
from registry.errors import AdapterRefused
from registry.fleet.leadership import TTL_MS
from tests.support.adapter_folders import TinyBase
from tests.support.raw_server import Connection, document, raw_server
from tests.support.stack import proof

NAME = "a-0123456789abcdef-1"


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return write_proof(write_adapter(tmp_path / "adapter", TinyBase().config), proof())


@pytest.fixture
async def engine(base: Path) -> AsyncIterator[MockEngine]:
    async with run_mock_engine(model=str(base), death_s=0.05) as engine:
        yield engine


@pytest.fixture
async def control(engine: MockEngine) -> AsyncIterator[VllmControl]:
    control = VllmControl(engine.url + "/")
    yield control
    await control.close()


async def test_what_is_loaded_is_listed_with_its_folder_and_can_be_unloaded_twice(
    control: VllmControl, adapter: Path
) -> None:
    assert [card.parent for card in (await control.models()).values()] == [None]
    await control.load_adapter(NAME, adapter)
    card = (await control.models())[NAME]
    assert (card.root, card.parent) == (str(adapter), "base")
    await control.unload_adapter(NAME)
    await control.unload_adapter(NAME)
    assert NAME not in await control.models()


async def test_version_and_boot_are_told_and_a_restart_is_another_boot(
    control: VllmControl, engine: MockEngine
) -> None:
    assert await control.healthy()
    assert await control.version() == "0.32.0"
    boot = (await control.look()).boot
    assert (await control.look()).boot == boot
    await engine.restart()
    assert (await control.look()).boot > boot


async def test_a_load_that_happened_already_is_no_error_for_the_same_folder(
    control: VllmControl, adapter: Path
) -> None:
    await control.load_adapter(NAME, adapter)
    await control.load_adapter(NAME, adapter)
    assert NAME in await control.models()


async def test_a_name_that_stands_for_another_folder_is_refused(
    control: VllmControl, adapter: Path, tmp_path: Path
) -> None:
    await control.load_adapter(NAME, adapter)
    with pytest.raises(AdapterRejected, match="already been loaded"):
        await control.load_adapter(NAME, write_adapter(tmp_path / "other", TinyBase().config, seed=1))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"rank": 32}, "rank 32 is greater"),
        ({"renamed": {"q_proj": "w_proj"}}, "expected target modules"),
        ({"config": {"use_dora": True}}, "DoRA"),
        ({"config": {"bias": "all"}}, "bias"),
    ],
)
async def test_an_adapter_that_the_engine_cannot_serve_is_rejected_in_its_own_words_without_our_folders(
    control: VllmControl, tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    folder = write_adapter(tmp_path / "bad", TinyBase().config, **options)
    with pytest.raises(AdapterRejected, match=reason) as caught:
        await control.load_adapter(NAME, folder)
    assert str(tmp_path) not in str(caught.value)
    assert NAME not in str(caught.value)


async def test_a_folder_that_the_engine_cannot_see_is_not_the_adapters_fault(
    control: VllmControl, tmp_path: Path
) -> None:
    with pytest.raises(NotVisible):
        await control.load_adapter(NAME, tmp_path / "nowhere")


async def test_an_engine_without_adapter_routes_is_told_apart_from_a_missing_folder(base: Path, adapter: Path) -> None:
    async with run_mock_engine(model=str(base), runtime_lora=False) as engine:
        control = VllmControl(engine.url)
        with pytest.raises(LoadingDisabled, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
            await control.load_adapter(NAME, adapter)
        await control.close()


async def test_a_500_of_a_dying_engine_is_not_the_adapters_fault(
    control: VllmControl, engine: MockEngine, adapter: Path
) -> None:
    await engine.faults(fail_next_load=[500], unhealthy=True)
    with pytest.raises(Unreachable):
        await control.load_adapter(NAME, adapter)
    await engine.faults(fail_next_load=[500], unhealthy=False)
    with pytest.raises(AdapterRejected):
        await control.load_adapter(NAME, adapter)
    await engine.faults(fail_next_load=[503])
    with pytest.raises(Unreachable, match="503"):
        await control.load_adapter(NAME, adapter)


async def test_an_engine_with_a_key_is_served_with_it_and_unreachable_without(base: Path, adapter: Path) -> None:
    async with run_mock_engine(model=str(base), api_key="k") as engine:
        stranger, control = VllmControl(engine.url), VllmControl(engine.url, "k")
        with pytest.raises(Unreachable, match="401"):
            await stranger.models()
        with pytest.raises(Unreachable, match="401"):
            await stranger.load_adapter(NAME, adapter)
        await control.load_adapter(NAME, adapter)
        assert NAME in await control.models()
        await stranger.close()
        await control.close()


async def test_nobody_listening_is_unreachable_on_every_route(adapter: Path) -> None:
    control = VllmControl(f"http://127.0.0.1:{free_port()}")
    assert not await control.healthy()
    calls: list[Callable[[], Awaitable[object]]] = [
        control.look,
        control.version,
        control.models,
        lambda: control.load_adapter(NAME, adapter),
        lambda: control.unload_adapter(NAME),
        lambda: control.next_token_logprob(NAME, [1], 2, "s"),
        lambda: control.answers_as(NAME, "s"),
    ]
    for call in calls:
        with pytest.raises(Unreachable):
            await call()
    await control.close()


async def test_a_proven_adapter_answers_with_the_numbers_of_its_proof(control: VllmControl, adapter: Path) -> None:
    await control.load_adapter(NAME, adapter)
    assert await control.answers_as(NAME, "s")
    probe = proof()["probes"][0]
    for position, base, adapted in zip(
        probe["positions"], probe["base_logprobs"], probe["adapter_logprobs"], strict=True
    ):
        prefix, token = probe["token_ids"][:position], probe["token_ids"][position]
        assert await control.next_token_logprob(NAME, prefix, token, "s") == adapted
        assert await control.next_token_logprob("base", prefix, token, "s") == base


async def test_a_probe_of_a_name_that_the_engine_lost_is_a_fault(control: VllmControl) -> None:
    with pytest.raises(EngineFault, match="404"):
        await control.next_token_logprob(NAME, [1], 2, "s")


# Answers that no vLLM gives


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[VllmControl]:
    """A control over a server that gives these answers in turn, and the last one for ever."""
    waiting = list(answers)

    async def answer(connection: Connection) -> None:
        data = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if data:
            await connection.send(data)
        else:
            connection.writer.close()

    async with raw_server(answer) as server:
        control = VllmControl(server.url)
        yield control
        await control.close()


def listing(*cards: dict[str, Any]) -> bytes:
    return document(orjson.dumps({"object": "list", "data": list(cards)}))


@pytest.mark.parametrize("body", [b"", b"[]", b"x", b"{}", b'{"data":3}', b'{"data":[{}]}', b'{"data":["x"]}'])
async def test_a_model_list_that_is_none_is_unintelligible(body: bytes) -> None:
    async with answering(document(body)) as control:
        with pytest.raises(Unintelligible):
            await control.models()


async def test_metrics_without_a_start_time_are_unintelligible() -> None:
    async with answering(document(b"vllm:x 1\n")) as control:
        with pytest.raises(Unintelligible, match="process_start_time_seconds"):
            await control.look()


async def test_an_answer_that_does_not_come_in_time_is_called_so() -> None:
    async def say_nothing(connection: Connection) -> None:
        await connection.reader.read()

    async with raw_server(say_nothing) as server:
        control = VllmControl(server.url)
        with pytest.raises(Unreachable, match=r"a probe broke off: the engine did not begin an answer within 0\.1 s"):
            await control.answers_as("base", "x", timeout_s=0.1)
        await control.close()


async def test_no_answer_is_longer_than_an_engine_can_have_one_whatever_was_asked(adapter: Path) -> None:
    long = orjson.dumps({"object": "error", "message": "x" * MOST_BYTES})
    async with answering(document(long)) as control:
        with pytest.raises(Unreachable, match=f"more than {MOST_BYTES} bytes"):
            await control.answers_as("base", "x")
        with pytest.raises(Unreachable, match=f"more than {MOST_BYTES} bytes"):
            await control.load_adapter(NAME, adapter)
        with pytest.raises(Unreachable, match=f"more than {MOST_BYTES} bytes"):
            await control.models()


async def test_a_packed_answer_is_not_unpacked_as_none_was_asked_for() -> None:
    packed = gzip.compress(orjson.dumps({"model": "base", "x": "x" * MOST_BYTES}))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    async with answering(head + packed) as control:
        with pytest.raises(Unintelligible):
            await control.answers_as("base", "x")


async def test_an_answer_that_comes_byte_by_byte_has_no_more_time_than_one_that_does_not_come() -> None:
    async def trickle(connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not connection.reader.at_eof():
            await connection.send(b"x")
            await asyncio.sleep(0.01)

    async with raw_server(trickle) as server, asyncio.timeout(60):
        control = VllmControl(server.url)
        with pytest.raises(Unreachable, match="a probe broke off"):
            await control.answers_as("base", "x", timeout_s=0.2)
        await control.close()


async def test_a_load_whose_answer_never_came_is_looked_up(adapter: Path) -> None:
    card = {"id": NAME, "root": str(adapter), "parent": "base"}
    async with answering(b"", listing(card)) as control:
        await control.load_adapter(NAME, adapter)
    for cards in ([], [card | {"root": "/elsewhere"}]):
        async with answering(b"", listing(*cards)) as control:
            with pytest.raises(Unreachable, match="broke off"):
                await control.load_adapter(NAME, adapter)


def scored(*logprobs: float | None) -> bytes:
    """A completion with these log-probabilities, NaN and infinities as Python writes them."""
    return document(json.dumps({"choices": [{"logprobs": {"token_logprobs": logprobs}}]}).encode())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
async def test_a_log_probability_that_is_not_finite_is_no_answer_to_a_probe(bad: float) -> None:
    async with answering(scored(bad)) as control:
        with pytest.raises(ProbeRefused, match="log-probability of"):
            await control.next_token_logprob(NAME, [1], 2, "s")


@pytest.mark.parametrize("answer", [scored(), scored(None), document(b'{"choices":[]}'), document(b"{}")])
async def test_an_answer_without_its_log_probability_is_unintelligible(answer: bytes) -> None:
    async with answering(answer) as control:
        with pytest.raises(Unintelligible):
            await control.next_token_logprob(NAME, [1], 2, "s")


async def test_an_answer_in_another_name_is_noticed() -> None:
    async with answering(document(b'{"model":"base"}')) as control:
        assert not await control.answers_as(NAME, "s")


# Quirks and proofs


async def test_the_zero_adapter_is_one_that_the_engine_loads_and_that_changes_nothing(
    control: VllmControl, base: Path, tmp_path: Path
) -> None:
    folder = write_zero_adapter(tmp_path / "cache" / "zero", describe_base(base))
    assert write_zero_adapter(folder, describe_base(base)) == folder
    await control.load_adapter(NAME, folder)
    for token in (5, 6, 7):
        served = [await control.next_token_logprob(name, [1, 2], token, "s") for name in (NAME, "base")]
        assert served[0] == served[1]


def test_strength_is_one_for_the_trained_effect_and_zero_for_none() -> None:
    expected = [1.0, -2.0, 0.5]
    assert strength(expected, expected) == 1.0
    assert strength([0.0, 0.0, 0.0], expected) == 0.0
    assert strength([-value for value in expected], expected) == -1.0
    assert strength([0.5, -1.0, 0.25], expected) == 0.5
    assert strength([1.0], [0.0]) == 0.0


@pytest.mark.parametrize(
    "change",
    [
        {"positions": [0]},
        {"positions": [4]},
        {"base_logprobs": [1.0]},
        {"token_ids": None},
        {"adapter_logprobs": ["x", "y"]},
    ],
)
def test_a_proof_that_does_not_fit_together_is_unreadable(tmp_path: Path, change: dict[str, Any]) -> None:
    document = proof()
    document["probes"][0] |= change
    (tmp_path / "effect_proof.json").write_bytes(orjson.dumps(document))
    with pytest.raises(AdapterRefused, match="effect_proof_unreadable"):
        read_proof(tmp_path)


def test_a_probe_asks_where_the_adapter_changes_most() -> None:
    probe = Probe((1, 2, 3, 4), (1, 2, 3), (-1.0, -1.0, -1.0), (-1.5, -4.0, -2.0))
    assert probe.strongest() == [Difference((1, 2), 3, -3.0), Difference((1, 2, 3), 4, -1.0)]


def test_a_folder_without_a_proof_has_none_and_a_sound_one_is_read(tmp_path: Path) -> None:
    assert read_proof(tmp_path) is None
    (tmp_path / "effect_proof.json").write_bytes(orjson.dumps(proof(probes=3)))
    found = read_proof(tmp_path)
    assert found is not None
    assert len(found.probes) == 3
    assert found.probes[0].positions == (1, 3)


def test_a_hundred_engines_are_met_long_before_a_lease_ends() -> None:
    began_s = time.process_time()
    for number in range(100):
        VllmControl(f"http://127.0.0.1:{number}")
    assert time.process_time() - began_s < TTL_MS / 1000 / 3
