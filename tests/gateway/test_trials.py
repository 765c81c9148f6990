"""What clients' refused requests say against an engine counts only while it serves nobody, and on that boot of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import httpx
import orjson
import pytest

from gateway.engines.connection import EngineClient
from gateway.engines.faults import Unreachable
from gateway.engines.kinds import KINDS
from gateway.engines.managed import ManagedEngine
from gateway.engines.probes import ProbeLog
from gateway.engines.self_test import ask_as_clients_do
from gateway.fleet.channel import Channel
from gateway.fleet.controller import Controller
from gateway.fleet.trials import CONTRADICTIONS, ENDPOINTS, Trials
from gateway.fleet.wire import Disputed
from gateway.fleet.worker import FleetWorker
from loadtest.testing import MockEngine, run_mock_engine
from tests.support.link_parts import entry_of, office
from tests.support.raw_server import Connection, raw_server
from tests.support.stack import House, proof
from tests.support.waiting import DEADLINE_S, wait_until_async

ONE = Disputed("", "completions", "acme", served_elsewhere=True)
"""One tenant's word, whichever engine it is about."""


@asynccontextmanager
async def met(house: House) -> AsyncIterator[tuple[MockEngine, Controller]]:
    """An engine that its controller knows."""
    async with (
        run_mock_engine(model=str(house.base_folder)) as mock,
        office(house, mock.url, looks=False) as (controller, _),
    ):
        await look(controller)
        yield mock, controller


async def look(controller: Controller) -> None:
    """One whole check of the only engine."""
    await controller.checks.look_at(controller.engines[0], reconcile=False)


def contradict(trials: Trials, engine: ManagedEngine) -> None:
    """Several tenants' requests, of which each is a pattern together with the others."""
    for number in range(CONTRADICTIONS):
        trials.is_due(engine, replace(ONE, tenant=f"tenant-{number}"))


async def serve_somebody(engine: ManagedEngine) -> None:
    """As a client's request that succeeds: it is none of the probes that are booked."""
    name = engine.residency.base_name
    body = {"model": name, "prompt": "a", "max_tokens": 2}
    async with httpx.AsyncClient() as client:
        await client.post(f"{engine.url}/v1/completions", json=body)


async def test_a_pattern_of_refusals_waits_for_a_second_look_at_whether_the_engine_serves_somebody(
    house: House,
) -> None:
    async with met(house) as (_, controller):
        engine, trials = controller.engines[0], controller.trials
        contradict(trials, engine)
        await trials.try_now(engine, "completions")
        assert engine.health.serves, "nobody has looked before, so it is not known that it serves nobody"
        contradict(trials, engine)
        await serve_somebody(engine)
        await trials.try_now(engine, "completions")
        assert engine.health.serves
        contradict(trials, engine)
        await trials.try_now(engine, "completions")
        assert engine.health.state == "refused"


async def test_what_was_refused_before_a_look_that_found_it_serving_is_no_pattern_with_what_comes_after(
    house: House,
) -> None:
    async with met(house) as (_, controller):
        engine, trials = controller.engines[0], controller.trials
        contradict(trials, engine)
        await serve_somebody(engine)
        await trials.try_now(engine, "completions")
        trials.is_due(engine, ONE)
        await trials.try_now(engine, "completions")
        assert engine.health.serves, "it served somebody between all refusals but the last"


async def test_what_was_said_against_an_engine_before_it_restarted_counts_no_more(house: House) -> None:
    async with met(house) as (mock, controller):
        engine, trials = controller.engines[0], controller.trials
        await serve_somebody(engine)
        trials.is_due(engine, ONE)
        await trials.try_now(engine, "completions")
        contradict(trials, engine)
        await mock.restart()
        await look(controller)
        for _ in range(2):
            trials.is_due(engine, ONE)
            await trials.try_now(engine, "completions")
        assert engine.health.serves


async def test_an_engine_whose_restart_nobody_has_seen_yet_is_not_refused_for_what_it_does_not_know(
    house: House,
) -> None:
    async with met(house) as (mock, controller):
        engine, trials = controller.engines[0], controller.trials
        await mock.restart()
        await trials.try_now(engine, "completions")
        assert engine.health.serves


async def test_who_has_an_engine_tried_on_one_endpoint_keeps_nobody_from_having_it_tried_on_the_other(
    house: House,
) -> None:
    async with met(house) as (_, controller):
        engine = controller.engines[0]
        due = [
            controller.trials.is_due(engine, Disputed(engine.url, endpoint, "acme", served_elsewhere=False))
            for endpoint in ENDPOINTS * 2
        ]
        assert due == [True] * len(ENDPOINTS) + [False] * len(ENDPOINTS)


def test_a_worker_tells_of_refusals_on_each_endpoint(house: House) -> None:
    told: list[bytes] = []
    worker = FleetWorker("w", house.registry.leadership, "", engine_key=lambda _: None, on_catalog_moved=lambda _: None)
    worker.link._channel = cast("Channel", SimpleNamespace(write=told.append, is_closing=lambda: False))
    for endpoint in ENDPOINTS * 2:
        worker.disputed("http://x:1", endpoint, "acme", served_elsewhere=False)
    assert [orjson.loads(line)["endpoint"] for line in told] == [*ENDPOINTS]


async def test_a_load_that_ends_on_an_engine_which_was_refused_meanwhile_spares_it_no_examination(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.engines.health.FIRST_EXAMINATION_S", 0.0)
    version = entry_of(house, house.publish("acme/triage", proof=proof()).id)
    async with met(house) as (mock, controller):
        engine = controller.engines[0]
        await mock.faults(load_ms=100, refuse_requests=400)
        loading = asyncio.create_task(controller.ensure(mock.url, version))
        await wait_until_async("the load to begin", engine.loading.locked)
        await controller.trials.try_now(engine, "completions")
        assert engine.health.state == "refused"
        await loading
        await look(controller)
        assert engine.health.state == "refused"


async def test_an_engine_that_never_ends_its_answer_to_us_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.engines.self_test.PROBE_TIMEOUT_S", 0.1)

    async def drip(connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        while True:
            await connection.send(b" ")
            await asyncio.sleep(0.01)

    async with raw_server(drip) as server:
        client = EngineClient(server.url)
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(Unreachable, match="timed out"):
                await ask_as_clients_do(KINDS["vllm"], client, ProbeLog(), "base", "completions")
        assert not client.active
