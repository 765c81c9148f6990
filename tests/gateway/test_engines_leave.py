"""Who waits for an engine that leaves the fleet is told, and nothing is loaded on it any more."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.fleet.view import ColdAdapterFailed
from loadtest.testing import run_mock_engine
from tests.support.link_parts import entry_of
from tests.support.stack import House
from tests.support.standing import add_engine, standing
from tests.support.waiting import DEADLINE_S, wait_until_async


async def test_who_waits_for_a_look_at_an_engine_is_told_when_it_leaves(house: House) -> None:
    version = house.publish("acme/triage")
    async with (
        run_mock_engine(model=str(house.base_folder)) as mock,
        standing(house, f"unix:{house.folder}/c.sock") as candidate,
    ):
        controller = await wait_until_async("it to lead", lambda: candidate.controller)
        add_engine(house, mock.url)
        controller.wake()
        engine = await wait_until_async("the engine", lambda: controller.engines.at(mock.url))
        await wait_until_async("it to serve", lambda: engine.health.serves)
        mock.options = replace(mock.options, load_stall_ms=600_000)  # it answers on its next boot, and is met for long
        await mock.restart()
        await wait_until_async("it to be met", lambda: engine.health.state == "starting")
        waiting = asyncio.create_task(controller.ensure(mock.url, entry_of(house, version.id)))
        house.registry.added_engines.remove(mock.url)
        controller.wake()
        await wait_until_async("it to leave", lambda: controller.engines.at(mock.url) is None)
        with pytest.raises(ColdAdapterFailed, match="it has left the fleet"):
            await asyncio.wait_for(waiting, DEADLINE_S)


async def test_nothing_is_loaded_on_a_healthy_engine_that_has_left(house: House) -> None:
    version = house.publish("acme/triage")
    async with (
        run_mock_engine(model=str(house.base_folder)) as mock,
        standing(house, f"unix:{house.folder}/c.sock") as candidate,
    ):
        controller = await wait_until_async("it to lead", lambda: candidate.controller)
        add_engine(house, mock.url)
        controller.wake()
        engine = await wait_until_async("the engine", lambda: controller.engines.at(mock.url))
        await wait_until_async("it to serve", lambda: engine.health.serves)
        house.registry.added_engines.remove(mock.url)
        controller.wake()
        await wait_until_async("it to leave", lambda: controller.engines.at(mock.url) is None)
        with pytest.raises(ColdAdapterFailed, match="it has left the fleet"):
            await controller.loading.ensure(engine, entry_of(house, version.id), for_swap=False)
