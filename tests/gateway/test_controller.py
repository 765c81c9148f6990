"""Races of the fleet's one writer that need an engine which answers at a chosen moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from gateway.fleet.controller import Controller, ControllerSettings
from gateway.fleet.engine import EngineDeclaration, ManagedEngine, Resident
from loadtest.folders import write_adapter
from loadtest.testing import run_mock_engine
from registry.names import parse_ref
from tests.gateway.raw_server import Connection, document, raw_server
from tests.gateway.stack import House, run_stack, wait_until
from tests.registry.adapter_folders import TinyBase


def controller_of(house: House, url: str, **settings: Any) -> Controller:
    base = house.registry.bases.get("tiny")
    engine = ManagedEngine(EngineDeclaration(url, base.digest, "cpu", 16))
    return Controller(
        [engine], house.registry, house.registry.catalog, {base.digest: house.folder}, ControllerSettings(**settings)
    )


async def test_an_adapter_that_leaves_while_another_is_retired_does_not_stop_the_controller(house: House) -> None:
    during_unload: list[Callable[[], None]] = []

    async def answer(connection: Connection) -> None:
        for act in during_unload:
            act()
        await connection.send(document(b"ok"))

    async with raw_server(answer) as server:
        controller = controller_of(house, server.url, retire_after_s=-1.0)
        engine = controller.engines[0]
        for number in (1, 2):
            engine.resident[number] = Resident(f"a-{number}", Path("/x"), None, fully_proven=True)
        during_unload.append(lambda: controller.lost(server.url, "a-2"))
        await controller._retire_unwanted()
        assert engine.resident == {}
        unloaded = [orjson.loads(body)["lora_name"] for _, body in server.requests]
        assert unloaded == ["a-1"]
        await controller.close()


async def test_a_load_waits_while_a_new_boot_is_taken_over_and_is_not_taken_for_a_stranger(tmp_path: Path) -> None:
    TinyBase().write(tmp_path / "base")
    zero = write_adapter(tmp_path / "zero", TinyBase().config, scale=0)
    folder = write_adapter(tmp_path / "adapter", TinyBase().config)
    async with run_mock_engine(model=str(tmp_path / "base")) as mock:
        engine = ManagedEngine(EngineDeclaration(mock.url, "sha256:0", "cpu", 16))
        await engine.control.load_adapter("a-stranger", folder)
        await mock.faults(load_ms=100)
        taking_over = asyncio.create_task(engine.check(zero))
        while not engine.loading.locked():
            await asyncio.sleep(0.001)
        async with engine.loading:
            resident = await engine.load(1, "sha256:" + "1" * 64, folder, full_proof=False)
        assert await taking_over
        names = set((await mock.state())["loaded"])
        assert names == {engine.base_name, resident.name}
        assert engine.resident == {1: resident}
        await engine.close()


async def test_an_engine_that_never_answers_does_not_hold_up_the_others(house: House) -> None:
    async def say_nothing(_connection: Connection) -> None:
        await asyncio.sleep(60)

    zero = write_adapter(house.folder / "zero", TinyBase().config, scale=0)
    async with raw_server(say_nothing) as silent, run_mock_engine(model=str(house.base_folder)) as mock:
        controller = controller_of(house, silent.url, check_interval_s=0.05)
        base = house.registry.bases.get("tiny")
        controller._zero_adapters[base.digest] = zero
        controller.engines.append(ManagedEngine(EngineDeclaration(mock.url, base.digest, "cpu", 16)))
        running = asyncio.create_task(controller.run())
        async with asyncio.timeout(5):  # the silent engine's check takes twice as long
            while [engine.url for engine in controller.view().engines] != [mock.url]:
                await asyncio.sleep(0.01)
            await mock.stop()
            while controller.view().engines:
                await asyncio.sleep(0.01)
        running.cancel()
        await controller.close()


def test_a_database_that_is_away_for_a_moment_does_not_stop_the_fleet(house: House) -> None:
    house.publish("acme/triage")
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_stack(house) as stack:
        stack.wait_resident("acme/triage")
        with house.registry.db.engine.execution_options(switchyard_write=True).begin() as connection:
            connection.execute(text("ALTER TABLE swaps RENAME TO swaps_away"))
        stack.faults(unhealthy=True)
        wait_until("the controller to go on", lambda: not stack.readiness()["ready"])
        stack.heal()
        assert stack.chat("acme/triage").status_code == 200
        with house.registry.db.engine.execution_options(switchyard_write=True).begin() as connection:
            connection.execute(text("ALTER TABLE swaps_away RENAME TO swaps"))
        assert house.promote("acme/triage", "1.1").state == "done"


def test_a_version_just_brought_in_is_not_the_first_to_make_room(house: House) -> None:
    names = [f"acme/task-{number}" for number in range(3)]
    for name in names:
        house.publish(name)
    house.publish(names[0])
    for name in names:
        house.point(name, "1.0")
    with run_stack(house, engine_max_cpu_loras=5) as stack:
        stack.wait_resident(*names)
        for name in names:
            assert stack.chat(name).status_code == 200
        assert house.promote(names[0], "1.1").state == "done"  # makes room: the one used longest ago is 1.0 itself
        assert stack.chat(f"{names[0]}@1.0").status_code == 200  # cold again: task-1 goes, not the newcomer
        kept = stack.controller.view().engines[0].resident
        assert house.registry.adapters.get(parse_ref(f"{names[0]}@1.1")).id in kept
        assert house.registry.adapters.get(parse_ref(f"{names[1]}@1.0")).id not in kept


@pytest.mark.parametrize("clients", [1, 5])
async def test_a_load_that_fails_is_told_to_everybody_who_waits_for_it(house: House, clients: int) -> None:
    version = house.publish("acme/triage")

    async def answer(connection: Connection) -> None:
        await connection.send(document(b'{"error":{"message":"no"}}', status=b"503 Service Unavailable"))

    async with raw_server(answer) as server:
        controller = controller_of(house, server.url)
        controller.engines[0].healthy = True
        entry = house.registry.catalog().versions_by_id[version.id]
        waiting: list[Awaitable[None]] = [controller.ensure(server.url, entry) for _ in range(clients)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result).__name__ for result in results] == ["ColdAdapterFailed"] * clients
        assert sum(b"load_lora_adapter" in head for head, _ in server.requests) == 1
        await controller.close()
