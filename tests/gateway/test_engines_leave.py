"""Who waits for an engine that leaves the fleet is told, and nothing is loaded on it any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from gateway.engines.managed import ManagedEngine
from gateway.fleet.controller import Controller
from gateway.fleet.view import ColdAdapterFailed
from loadtest.testing import MockEngine, run_mock_engine
from tests.support.link_parts import entry_of
from tests.support.stack import House
from tests.support.standing import add_engine, standing
from tests.support.waiting import DEADLINE_S, wait_until_async


@dataclass(frozen=True)
class Added:
    """An engine that was added to a fleet and serves."""

    controller: Controller
    engine: ManagedEngine
    mock: MockEngine
    leave: Callable[[], Awaitable[None]]
    """Have it removed, and return when it has left the fleet."""


@asynccontextmanager
async def added_engine(house: House) -> AsyncIterator[Added]:
    async with (
        run_mock_engine(model=str(house.base_folder)) as mock,
        standing(house, f"unix:{house.folder}/c.sock") as candidate,
    ):
        controller = await wait_until_async("it to lead", lambda: candidate.controller)
        add_engine(house, mock.url)
        controller.wake()
        engine = await wait_until_async("the engine", lambda: controller.engines.at(mock.url))
        await wait_until_async("it to serve", lambda: engine.health.serves)

        async def leave() -> None:
            house.registry.added_engines.remove(mock.url, actor="kim")
            controller.wake()
            await wait_until_async("it to leave", lambda: controller.engines.at(mock.url) is None)

        yield Added(controller, engine, mock, leave)


async def test_who_waits_for_a_look_at_an_engine_is_told_when_it_leaves(house: House) -> None:
    version = house.publish("acme/triage")
    async with added_engine(house) as one:
        one.mock.options = replace(one.mock.options, load_stall_ms=600_000)  # on its next boot it is met for long
        await one.mock.restart()
        await wait_until_async("it to be met", lambda: one.engine.health.state == "starting")
        waiting = asyncio.create_task(one.controller.ensure(one.mock.url, entry_of(house, version.id)))
        await one.leave()
        with pytest.raises(ColdAdapterFailed, match="it has left the fleet"):
            await asyncio.wait_for(waiting, DEADLINE_S)


async def test_nothing_is_loaded_on_a_healthy_engine_that_has_left(house: House) -> None:
    version = house.publish("acme/triage")
    async with added_engine(house) as one:
        await one.leave()
        with pytest.raises(ColdAdapterFailed, match="it has left the fleet"):
            await one.controller.loading.ensure(one.engine, entry_of(house, version.id), for_swap=False)
