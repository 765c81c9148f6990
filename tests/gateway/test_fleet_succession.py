"""A controller ends, in order or not, and the next one goes on: what was resident stays in the routes throughout."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.engines.managed import ManagedEngine
from loadtest.folders import write_adapter
from loadtest.testing import MockEngine, run_mock_engine
from registry.names import parse_ref
from tests.support.adapter_folders import TinyBase
from tests.support.link_parts import entry_of, follower, office, played_office, real_worker, resident
from tests.support.stack import House, proof
from tests.support.waiting import DEADLINE_S, never, wait_until_async

CONTROLLER_THAT_FREEZES = """
import asyncio, sys
async def main():
    server = await asyncio.start_unix_server(lambda reader, writer: print("linked", flush=True), sys.argv[1])
    print("listening", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.fixture
async def mock(house: House) -> AsyncIterator[MockEngine]:
    async with run_mock_engine(model=str(house.base_folder)) as mock:
        yield mock


def name_on(engine: ManagedEngine, version_id: int) -> str | None:
    entry = engine.residency.resident.get(version_id)
    return entry.name if entry else None


async def test_what_workers_route_to_is_never_out_of_the_routes_nor_proven_again(
    house: House, mock: MockEngine
) -> None:
    version = house.publish("acme/triage", proof=proof())
    house.registry.workers.report("w", "http://w", 1)
    async with real_worker(house) as worker:
        async with office(house, mock.url) as (controller, _):
            await wait_until_async("the engine to be up", lambda: controller.engines[0].health.state == "up")
            await controller.ensure(mock.url, entry_of(house, version.id))
            name = controller.engines[0].residency.resident[version.id].name
            await wait_until_async("the worker to know", lambda: resident(worker, version.id) == name)
        before = await mock.state()
        async with office(house, mock.url) as (controller, _):
            async with asyncio.timeout(DEADLINE_S):
                while controller.engines[0].health.state != "up" or not controller.hub.links:
                    assert resident(worker, version.id) == name
                    await asyncio.sleep(0)
            for _ in range(200):
                assert resident(worker, version.id) == name
                await asyncio.sleep(0.001)
            assert name_on(controller.engines[0], version.id) == name
        after = await mock.state()
        assert after["loads"] == before["loads"]
        assert after["requests"].get(name) == before["requests"].get(name), "no probe: it was proven"


async def test_what_nobody_vouches_for_is_proven_before_it_is_routed_to(house: House, mock: MockEngine) -> None:
    version = house.publish("acme/triage", proof=proof())
    async with office(house, mock.url) as (controller, _):
        await wait_until_async("the engine to be up", lambda: controller.engines[0].health.state == "up")
        await controller.ensure(mock.url, entry_of(house, version.id))
        name = controller.engines[0].residency.resident[version.id].name
    loads = (await mock.state())["loads"]
    async with office(house, mock.url) as (controller, address), follower(address, "new") as new:
        engine = controller.engines[0]
        await wait_until_async("the engine to be up", lambda: engine.health.state == "up")
        assert version.id not in engine.residency.resident
        assert engine.residency.adoptable[version.id][0] == name
        asked = (await mock.state())["requests"][name]
        await controller.ensure(mock.url, entry_of(house, version.id))
        await wait_until_async("the routes to have it", lambda: new.routes.get(version.id) == name)
        after = await mock.state()
        assert after["loads"] == loads
        assert after["requests"][name] > asked


async def test_what_no_version_refers_to_is_unloaded_when_workers_have_let_go_of_it(
    house: House, mock: MockEngine
) -> None:
    version = house.publish("acme/triage")
    async with office(house, mock.url) as (controller, _):
        await wait_until_async("the engine to be up", lambda: controller.engines[0].health.state == "up")
        await controller.ensure(mock.url, entry_of(house, version.id))
        name = controller.engines[0].residency.resident[version.id].name
    house.registry.adapters.quarantine(version.id, "test")
    house.registry.workers.report("slow", "http://slow", 1)
    async with office(house, mock.url) as (controller, address), follower(address, "slow", trusted=(name,)) as slow:
        engine = controller.engines[0]
        slow.confirms, slow.seen = False, 0  # it has read the welcome, and nothing that is published after it
        await wait_until_async("the engine to be up", lambda: engine.health.state == "up")
        await asyncio.sleep(0.4)
        assert name in engine.residency.leaving, "the slow one may still be routing to it"
        slow.confirms, slow.seen = True, controller.hub.revision
        await wait_until_async("it to be unloaded", lambda: name not in engine.residency.leaving)
        assert name not in (await mock.state())["loaded"]


async def test_a_cold_adapter_asked_for_before_anybody_leads_is_loaded_by_who_does(
    house: House, mock: MockEngine
) -> None:
    version = house.publish("acme/triage")
    async with real_worker(house) as worker:
        asked = asyncio.create_task(worker.ensure(mock.url, entry_of(house, version.id)))
        await asyncio.sleep(0.05)
        async with office(house, mock.url), asyncio.timeout(DEADLINE_S):
            await asked
            assert resident(worker, version.id)


async def test_a_request_that_waits_for_a_load_while_controllers_change_is_answered_by_the_next(
    house: House, mock: MockEngine
) -> None:
    version = house.publish("acme/triage")
    async with real_worker(house) as worker:
        async with office(house, mock.url) as (controller, _):
            await wait_until_async("the worker to link", lambda: worker.view().engines)
            await mock.faults(load_ms=500)
            asked = asyncio.create_task(worker.ensure(mock.url, entry_of(house, version.id)))
            await wait_until_async("the load to begin", lambda: controller.loading.tasks)
        await mock.faults(load_ms=0)
        async with office(house, mock.url) as (controller, _), asyncio.timeout(DEADLINE_S):
            await asked
            assert resident(worker, version.id) == name_on(controller.engines[0], version.id)


async def test_a_promote_waits_for_the_first_look_of_a_new_controller(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.publish("acme/triage")
    async with run_mock_engine(model=str(house.base_folder)) as mock:
        await mock.faults(load_ms=400)  # so long takes the zero adapter, and with it the first look
        swap = house.registry.swaps.request(parse_ref("acme/triage@1.1"), actor="test")
        async with office(house, mock.url, check_interval_s=0.02):
            await wait_until_async("the swap", lambda: house.registry.swaps.get(swap.id).state in ("done", "failed"))
            assert house.registry.swaps.get(swap.id).state == "done"


async def test_workers_leave_a_controller_that_was_paused_for_the_next(house: House) -> None:
    path = house.folder / "frozen.sock"
    frozen = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CONTROLLER_THAT_FREEZES, str(path), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert frozen.stdout is not None
        assert await frozen.stdout.readline() == b"listening\n"
        assert house.registry.leadership.acquire("frozen", f"unix:{path}") is not None
        async with real_worker(house) as worker:
            assert await frozen.stdout.readline() == b"linked\n"
            frozen.send_signal(signal.SIGSTOP)
            house.registry.leadership.release("frozen")  # as it lapses
            async with played_office(house, "next") as links, asyncio.timeout(DEADLINE_S):
                assert (await (await links.get()).hear())["worker"] == "w"
            assert worker.view().engines == ()
    finally:
        frozen.kill()
        await frozen.wait()


async def test_a_worker_that_says_nothing_does_not_hold_up_unloading_longer_than_it_lives(
    house: House, mock: MockEngine
) -> None:
    version = house.publish("acme/triage")
    async with office(house, mock.url) as (controller, address), follower(address, "paused") as paused:
        engine = controller.engines[0]
        await wait_until_async("the engine to be up", lambda: engine.health.state == "up")
        await controller.ensure(mock.url, entry_of(house, version.id))
        await wait_until_async("it to know", lambda: version.id in paused.routes)
        paused.pause()
        house.registry.adapters.quarantine(version.id, "test")
        await wait_until_async("it to leave the routes", lambda: engine.residency.leaving)
        await wait_until_async("it to be unloaded", lambda: not engine.residency.leaving)


async def test_the_socket_of_a_successor_survives_the_end_of_its_predecessor(house: House) -> None:
    async with office(house, looks=False) as (old, address):
        over = asyncio.Event()

        async def succeed() -> None:
            async with old.hub.serve(address, old.snapshot, old.requests.on_message):
                await over.wait()

        async with old.hub.serve(address, old.snapshot, old.requests.on_message):
            successor = asyncio.create_task(succeed())
            await asyncio.sleep(0.05)
        _, writer = await address.connect()
        writer.close()
        over.set()
        await successor
        with pytest.raises(FileNotFoundError):
            await address.connect()


async def test_a_load_that_was_given_up_and_ended_later_does_not_keep_its_place(house: House, mock: MockEngine) -> None:
    version = house.publish("acme/triage")
    house.publish("acme/other")
    async with office(house, mock.url, reconcile_interval_s=0.1) as (controller, _):
        engine = controller.engines[0]
        await wait_until_async("the engine to be up", lambda: engine.health.state == "up")
        folder = house.registry.version_files.materialise(entry_of(house, version.id).manifest_digest)
        await engine.control.load_adapter("a-1234567812345678-1-7", folder)
        await wait_until_async("it to be gone", lambda: "a-1234567812345678-1-7" not in engine.residency.names)

        async def loaded() -> bool:
            return "a-1234567812345678-1-7" in (await mock.state())["loaded"]

        async with asyncio.timeout(DEADLINE_S):
            while await loaded():
                await asyncio.sleep(0.02)


async def test_the_adapters_of_another_fleet_on_the_same_engine_are_left_alone(house: House, mock: MockEngine) -> None:
    theirs = write_adapter(house.folder / "another" / "adapter", TinyBase().config)
    async with httpx.AsyncClient(base_url=mock.url) as http:
        load = {"lora_name": "a-0123456789abcdef-1-7", "lora_path": str(theirs)}
        (await http.post("/v1/load_lora_adapter", json=load)).raise_for_status()
    async with office(house, mock.url, reconcile_interval_s=0.1) as (controller, _):
        engine = controller.engines[0]
        await wait_until_async("the engine to be up", lambda: engine.health.state == "up")
        await never("taken for ours", lambda: engine.residency.foreign != {"a-0123456789abcdef-1-7"})
        assert "a-0123456789abcdef-1-7" in (await mock.state())["loaded"]
        assert "a-0123456789abcdef-1-7" in engine.residency.names, "it takes a place"
