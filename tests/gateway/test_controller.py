"""Races of the fleet's one writer that need an engine which answers at a chosen moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import pytest
from sqlalchemy import text

from gateway.engines.residency import Resident
from gateway.fleet.wire import Report
from loadtest.folders import write_adapter
from loadtest.testing import run_mock_engine
from registry.names import parse_ref
from tests.support.adapter_folders import TinyBase
from tests.support.fleet_parts import NOBODY, controller_of, hub_of, managed_engine, played_worker
from tests.support.link_parts import entry_of, office
from tests.support.raw_server import Connection, document, raw_server
from tests.support.stack import House, proof, run_stack
from tests.support.waiting import DEADLINE_S, wait_until, wait_until_async


async def test_an_adapter_that_leaves_while_another_is_unloaded_does_not_stop_the_controller(house: House) -> None:
    during_unload: list[Callable[[], None]] = []

    async def answer(connection: Connection) -> None:
        for act in during_unload:
            act()
        await connection.send(document(b"ok"))

    async with raw_server(answer) as server:
        controller = controller_of(house, server.url, retire_after_s=-1.0)
        engine = controller.engines[0]
        for number in (1, 2):
            engine.residency.resident[number] = Resident(f"a-{number}", Path("/x"), None, fully_proven=True)
        during_unload.append(lambda: controller.lost(server.url, "a-2"))
        controller.placement.retire_unwanted()
        assert engine.residency.resident == {}
        await controller.loading.unload_cleared(engine)
        unloaded = [orjson.loads(body)["lora_name"] for _, body in server.requests]
        assert unloaded[0] == "a-1"
        assert engine.residency.leaving == {}
        await controller.close()


async def test_what_workers_tell_of_a_version_that_has_gone_or_of_such_an_engine_is_not_kept(
    house: House, tmp_path: Path
) -> None:
    url, gone = "http://127.0.0.1:1", "http://127.0.0.1:2"
    controller = controller_of(house, url)
    hub, loading = controller.hub, controller.loading
    loading._unproven_s[url, 2] = loading._not_before[url, 2] = 1.0
    loading._arrivals.add((url, 2))
    controller.engines[0].residency.resident[1] = Resident("a-1", Path("/x"), None, fully_proven=True)
    async with hub_of(controller, tmp_path) as address:
        worker = await played_worker(address, "w")
        uses = ((url, 1, 1, 0.0), (url, 2, 1, 0.0), (gone, 1, 1, 0.0))
        worker.say(Report(0, (), uses, {url: 0.0, gone: 0.0}))
        await wait_until_async("the report", lambda: (gone, 1) in hub.last_used_s)
        controller.placement.retire_unwanted()
        assert hub.last_used_s.keys() == {(url, 1)}
        assert hub.heard_s.keys() == {url}
        assert loading._unproven_s == loading._not_before == loading._arrivals._came_s == {}
        worker.hang_up()
    await controller.close()


async def test_a_new_controller_hears_what_is_hot_and_a_worker_that_links_again_makes_nothing_hotter(
    house: House, tmp_path: Path
) -> None:
    controller = controller_of(house)
    placement = controller.placement
    async with hub_of(controller, tmp_path) as address:
        for _ in range(3):
            worker = await played_worker(address, "w", rates={1: 30.0, 2: 4.0})
            await worker.hear_until_published()
            worker.hang_up()
            placement.observe_demand()
            assert placement.demand.hottest() == [1, 2]
            assert 29.0 < placement.demand.heat(1) <= 30.0
    await controller.close()


async def test_a_load_waits_while_a_new_boot_is_taken_over_and_is_not_taken_for_a_stranger(tmp_path: Path) -> None:
    TinyBase().write(tmp_path / "base")
    zero = write_adapter(tmp_path / "zero", TinyBase().config, scale=0)
    folder = write_adapter(tmp_path / "adapter", TinyBase().config)
    async with run_mock_engine(model=str(tmp_path / "base")) as mock:
        engine = managed_engine(mock.url, zero_adapter=zero)
        await engine.control.load_adapter("a-stranger", folder)
        await mock.faults(load_ms=100)
        taking_over = asyncio.create_task(engine.check(NOBODY, in_flight=0, heard_s=0.0))
        await wait_until_async("the load to begin", engine.loading.locked)
        async with engine.loading:
            await engine.bring(1, "sha256:" + "1" * 64, folder)
            engine.residency.begin_proof(1)
            resident = await engine.prove(1, full_proof=False)
        assert await taking_over
        names = set((await mock.state())["loaded"])
        assert names == {engine.residency.base_name, resident.name, "a-stranger"}
        assert engine.residency.resident == {1: resident}
        assert set(engine.residency.leaving) == {"a-stranger"}, "unloaded when no worker can be using it"
        await engine.close()


async def test_a_load_that_ends_while_the_term_does_begins_no_other(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("acme/triage", "acme/sentiment"):
        house.publish(name)
        house.point(name, "1.0")
    async with run_mock_engine(model=str(house.base_folder)) as mock:
        zero = write_adapter(house.folder / "zero", TinyBase().config, scale=0)
        controller = controller_of(house, mock.url, zero_adapter=zero)
        closing: list[asyncio.Task[None]] = []
        monkeypatch.setattr(controller, "proven", lambda _: closing.append(asyncio.create_task(controller.close())))
        await controller.checks.check_all(reconcile=False)
        before = (await mock.state())["loads"]
        controller.preload()
        await wait_until_async("the first load to end", lambda: closing)
        await asyncio.gather(*closing)
        assert controller.loading.tasks == {}
        assert (await mock.state())["loads"] == before + 1


async def test_an_engine_that_never_answers_does_not_hold_up_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.engines.vllm.control.LOOK_TIMEOUT_S", 2 * DEADLINE_S)

    async def say_nothing(_connection: Connection) -> None:
        await asyncio.sleep(2 * DEADLINE_S)

    zero = write_adapter(house.folder / "zero", TinyBase().config, scale=0)
    async with raw_server(say_nothing) as silent, run_mock_engine(model=str(house.base_folder)) as mock:
        controller = controller_of(house, silent.url, mock.url, zero_adapter=zero, check_interval_s=0.05)
        running = asyncio.create_task(controller.run())
        async with asyncio.timeout(DEADLINE_S):  # the silent engine's check takes longer
            await wait_until_async("the engine to be up", lambda: controller.engines[1].health.state == "up")
            await mock.stop()
            await wait_until_async("the engine to be down", lambda: controller.engines[1].health.state != "up")
        running.cancel()
        await controller.close()


async def test_after_an_unnoticed_restart_a_proven_adapter_waits_for_the_base_that_its_proof_compares_with(
    house: House,
) -> None:
    version = entry_of(house, house.publish("acme/triage", proof=proof()).id)
    async with (
        run_mock_engine(model=str(house.base_folder)) as mock,
        office(house, mock.url, looks=False) as (controller, _),
    ):
        await controller.checks.check_all(reconcile=False)
        await controller.ensure(mock.url, version)
        lost = controller.engines[0].residency.resident[version.id].name
        await mock.restart()
        controller.lost(mock.url, lost)
        await controller.ensure(mock.url, version)
        assert controller.engines[0].residency.resident[version.id].strength is not None


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
        assert house.promote(names[0], "1.1").state == "done"  # it takes the place that is kept for swaps
        house.publish("acme/cold")
        stack.wait_revision()
        assert stack.chat("acme/cold@1.0").status_code == 200  # two must go, and the place be free again
        kept = stack.worker.view().engines[0].resident
        newcomer, idlest, second = (f"{names[0]}@1.1", f"{names[0]}@1.0", f"{names[1]}@1.0")
        held = [house.registry.adapters.get(parse_ref(name)).id in kept for name in (newcomer, idlest, second)]
        assert held == [True, False, False]


@pytest.mark.parametrize("clients", [1, 5])
async def test_a_load_that_fails_is_told_to_everybody_who_waits_for_it(house: House, clients: int) -> None:
    version = house.publish("acme/triage")

    async def answer(connection: Connection) -> None:
        await connection.send(document(b'{"error":{"message":"no"}}', status=b"503 Service Unavailable"))

    async with raw_server(answer) as server:
        controller = controller_of(house, server.url)
        controller.engines[0].health.up()
        entry = house.registry.catalog().versions_by_id[version.id]
        waiting: list[Awaitable[None]] = [controller.ensure(server.url, entry) for _ in range(clients)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result).__name__ for result in results] == ["ColdAdapterFailed"] * clients
        assert sum(b"load_lora_adapter" in head for head, _ in server.requests) == 1
        await controller.close()
