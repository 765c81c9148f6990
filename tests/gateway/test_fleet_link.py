"""The link between the controller and its workers: nothing is unloaded that a worker may use, no successor harms it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from gateway.engines.engine import Engine, EngineStatus
from gateway.engines.residency import Resident
from gateway.fleet.wire import (
    EngineChanged,
    Engines,
    Ensure,
    Ensured,
    Published,
    Report,
    Welcome,
    read_from_controller,
)
from gateway.fleet.worker import FleetWorker
from loadtest.testing import MockEngine, run_mock_engine
from registry.names import parse_ref
from tests.support.fleet_parts import PlayedWorker, engines_at, played_worker
from tests.support.link_parts import entry_of, follower, office, played_office, real_worker, resident
from tests.support.stack import House
from tests.support.waiting import DEADLINE_S, never, wait_until_async

NOTHING = Report(0, (), (), {})
"""Whoever is silent for two seconds is cut off, and a machine that is busy may be slower than that."""


def sees(worker: FleetWorker, urls: tuple[str, ...]) -> bool:
    return tuple(engine.url for engine in worker.view().engines) == urls


async def heard(worker: PlayedWorker, question: int) -> Ensured:
    """The answer to a question, as it comes between everything that is published."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            worker.say(NOTHING)
            message = await read_from_controller(worker.channel)
            if isinstance(message, Ensured) and message.id == question:
                return message


def take_away(socket: Path, left_behind: str) -> None:
    """What a tidy stranger does to a socket."""
    socket.unlink()
    if left_behind == "a file":
        socket.write_text("none of ours")


@pytest.fixture
async def mock(house: House) -> AsyncIterator[MockEngine]:
    async with run_mock_engine(model=str(house.base_folder)) as mock:
        yield mock


async def test_what_is_no_message_cuts_that_link_and_nothing_else(house: House) -> None:
    async with office(house, looks=False) as (controller, address), follower(address, "good") as good:
        await wait_until_async("a first report", lambda: good.seen >= 0)
        for garbage in (b"", b"{}", b'{"kind":"report"}', b"\xff\xfe", b"GET / HTTP/1.1\r\n\r\n", b'{"kind":"wake"'):
            bad = await played_worker(address, "bad")
            assert await bad.hear_until_published() == controller.hub.revision
            bad.channel.write(garbage)
            await wait_until_async("the link to be cut", lambda: set(controller.hub.links) == {"good"})
            bad.hang_up()
        controller.hub.publish(())
        await wait_until_async(
            "the other to go on", lambda: controller.hub.links["good"].seen == controller.hub.revision
        )


@pytest.mark.parametrize("left_behind", ["nothing", "a file"])
async def test_a_controller_whose_socket_was_taken_away_can_soon_be_reached_again(
    house: House, left_behind: str
) -> None:
    async with office(house, looks=False) as (controller, address), follower(address, "old") as old:
        socket = Path(address.host)
        take_away(socket, left_behind)
        await wait_until_async("the socket to be there again", socket.is_socket)
        async with follower(address, "new"):
            await wait_until_async("both to be linked", lambda: set(controller.hub.links) == {"old", "new"})
            controller.hub.publish(())
            await wait_until_async("the old link to go on", lambda: old.seen == controller.hub.revision)
    assert list(house.folder.rglob("*.sock")) == []


async def test_nothing_is_unloaded_before_every_worker_has_let_go_of_it(house: House, mock: MockEngine) -> None:
    version = house.publish("acme/triage")
    async with (
        office(house, mock.url, retire_after_s=0.05, reconcile_interval_s=0.1) as (controller, address),
        follower(address, "quick") as quick,
        follower(address, "slow") as slow,
    ):
        engine = controller.engines[0]
        await wait_until_async("the engine to be up", lambda: engine.health.state == "up")
        slow.confirms = False
        await controller.ensure(mock.url, entry_of(house, version.id))
        name = engine.residency.resident[version.id].name
        await wait_until_async("it to leave the routes", lambda: name in engine.residency.leaving)
        await wait_until_async("the quick one to know", lambda: version.id not in quick.routes)
        await never("unloaded before the slow one knows", lambda: name not in engine.residency.leaving)

        slow.confirms, slow.seen = True, controller.hub.revision
        slow.in_flight = ((mock.url, name, 1),)
        slow.report()
        await never("unloaded under a request", lambda: name not in engine.residency.leaving)
        assert name in (await mock.state())["loaded"]

        slow.in_flight = ()
        slow.report()
        await wait_until_async("it to be unloaded", lambda: name not in engine.residency.leaving)
        assert name not in (await mock.state())["loaded"]


async def test_a_worker_that_lives_and_has_not_linked_is_waited_for(house: House, mock: MockEngine) -> None:
    version = house.publish("acme/triage")
    async with office(house, mock.url, retire_after_s=0.05, reconcile_interval_s=0.1) as (controller, address):
        engine = controller.engines[0]
        await wait_until_async("the engine to be up", lambda: engine.health.state == "up")
        house.registry.workers.report("late", "http://late", 1)
        await controller.ensure(mock.url, entry_of(house, version.id))
        await wait_until_async("it to leave the routes", lambda: engine.residency.leaving)
        await never("unloaded without the late one's word", lambda: not engine.residency.leaving)
        async with follower(address, "late"):
            await wait_until_async("it to be unloaded", lambda: not engine.residency.leaving)


async def test_a_worker_that_dies_is_waited_for_no_longer(house: House, mock: MockEngine) -> None:
    version = house.publish("acme/triage")
    async with office(house, mock.url, retire_after_s=0.05, reconcile_interval_s=0.1) as (controller, address):
        engine = controller.engines[0]
        await wait_until_async("the engine to be up", lambda: engine.health.state == "up")
        house.registry.workers.report("mortal", "http://mortal", 1)
        async with follower(address, "mortal") as mortal:
            await controller.ensure(mock.url, entry_of(house, version.id))
            mortal.in_flight = ((mock.url, engine.residency.resident[version.id].name, 3),)
            mortal.report()
            await wait_until_async("it to count", lambda: controller.hub.running_on(mock.url) == 3)
            house.registry.adapters.quarantine(version.id, "test")
            await wait_until_async("it to leave the routes", lambda: engine.residency.leaving)
            await never("unloaded under a request", lambda: not engine.residency.leaving)
        house.registry.workers.leave("mortal")  # as its lease lapses
        await wait_until_async("it to be unloaded", lambda: not engine.residency.leaving)


async def test_a_worker_that_links_again_counts_once_and_has_confirmed_nothing(house: House) -> None:
    async with office(house, looks=False) as (controller, address), follower(address, "w") as first:
        first.in_flight = (("http://e", "a-1", 2),)
        first.report()
        await wait_until_async("a report", lambda: controller.hub.count("http://e", "a-1") == 2)
        again = await played_worker(address, "w")
        await again.hear_until_published()
        assert controller.hub.links["w"].seen == -1
        assert not controller.hub.is_clear("http://e", "a-1", 0)
        first.played.hang_up()
        await asyncio.sleep(0.05)
        assert set(controller.hub.links) == {"w"}, "the end of the old link is not the end of the new one"
        again.hang_up()


async def test_a_published_set_of_changes_is_seen_whole_by_everybody(house: House) -> None:
    async with office(house, looks=False) as (controller, address):
        workers = [await played_worker(address, f"w-{number}") for number in range(3)]
        for worker in workers:
            assert await worker.hear_until_published() == 0
        assert controller.hub.publish(()) == 1
        for worker in workers:
            assert await worker.hear_until_published() == 1
            assert isinstance(worker.heard[-1], Published)
            worker.hang_up()


async def test_what_people_read_of_an_engine_has_been_published_before_they_read_it(
    house: House, mock: MockEngine
) -> None:
    async with office(house, mock.url, looks=False) as (controller, _):
        await controller.checks.look_at(controller.engines[0], reconcile=False)
        before = controller.hub.revision
        controller.engines[0].health.drained = True
        document = controller.document()
        assert document["engines"][0]["state"] == "draining"
        assert document["controller"]["view_revision"] == before + 1, (
            "workers at the old one may still send it requests"
        )


async def test_a_load_that_is_given_up_before_its_first_step_is_answered_and_can_be_asked_for_again(
    house: House, mock: MockEngine
) -> None:
    version = house.publish("acme/triage")
    async with office(house, mock.url) as (controller, address):
        (engine,) = controller.engines
        await wait_until_async("the engine to be up", lambda: engine.health.state == "up")
        worker = await played_worker(address, "w")
        await worker.hear_until_published()
        controller.requests.on_message(controller.hub.links["w"], Ensure(1, mock.url, version.id, proven=True))

        async def die() -> None:
            assert not controller.loading.tasks[mock.url, version.id].done()
            engine.health.down("it died")
            controller.loading.give_up(engine)

        await asyncio.create_task(die())  # after the question was taken up, and before the load's first step
        assert (await heard(worker, 1)).failure == "the load was given up; the engine is down"

        def back() -> bool:
            worker.say(NOTHING)
            return engine.health.state == "up"

        await wait_until_async("the engine to be back", back)
        worker.say(Ensure(2, mock.url, version.id, proven=True))
        assert (await heard(worker, 2)).failure == ""
        worker.hang_up()


async def test_a_worker_that_is_told_a_version_is_there_knows_its_name_by_then(house: House, mock: MockEngine) -> None:
    version = entry_of(house, house.publish("acme/triage").id)
    async with office(house, mock.url, looks=False) as (controller, _), real_worker(house) as worker:
        await controller.checks.look_at(controller.engines[0], reconcile=False)
        await worker.informed.wait()
        entry = Resident("triage-1", house.folder, None, fully_proven=False)
        controller.engines[0].residency.resident[version.id] = entry  # as a load does before it keeps the base warm
        await worker.ensure(mock.url, version)
        assert resident(worker, version.id) == "triage-1"


async def test_a_load_that_nobody_waits_for_any_more_is_asked_for_anew(house: House) -> None:
    version = entry_of(house, house.publish("acme/triage").id)
    async with real_worker(house) as worker, played_office(house, "silent") as links:
        link = await links.get()
        link.say(Welcome(1), revision=1)
        await worker.informed.wait()
        asked: list[int] = []
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await worker.ensure("http://a:1", version)
            asked.append((await link.hear_of("kind", "ensure"))["id"])
        assert asked[0] != asked[1]
        assert len(worker.loads) == 0


async def test_a_load_whose_answer_got_lost_is_asked_for_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.fleet.awaited_loads.ASK_AGAIN_S", 0.0)
    version = entry_of(house, house.publish("acme/triage").id)
    async with real_worker(house) as worker, played_office(house, "forgetful") as links:
        link = await links.get()
        link.say(Welcome(1), revision=1)
        waiting = asyncio.create_task(worker.ensure("http://a:1", version))
        asked: list[int] = []
        while len(asked) < 2:
            if (message := await link.hear())["kind"] == "ensure":
                asked.append(message["id"])
        assert asked[0] == asked[1]
        link.say(Ensured(asked[0], "", permanent=False), revision=2)
        await waiting


async def test_a_worker_finds_its_controller_again_when_the_database_has_hung_meanwhile(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.fleet.link.SILENCE_S", 0.05)
    async with real_worker(house) as worker, played_office(house, "one") as links:
        first = await links.get()
        hangs, current = threading.Event(), house.registry.leadership.current

        def hanging() -> object:
            hangs.wait(2 * DEADLINE_S)
            return current()

        monkeypatch.setattr(house.registry.leadership, "current", hanging)
        first.hang_up()
        second = await asyncio.wait_for(links.get(), DEADLINE_S)
        assert (await second.hear())["kind"] == "hello"
        assert not hangs.is_set()
        hangs.set()
        assert worker is not None


async def test_what_is_left_on_the_old_version_is_what_workers_say_after_the_cut_over(
    house: House, mock: MockEngine
) -> None:
    old, new = house.publish("acme/triage"), house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.registry.workers.report("w", "http://w", 10**6)  # it has every catalog in force
    async with office(house, mock.url) as (controller, address), follower(address, "w") as worker:
        await wait_until_async(
            "a report without requests", lambda: controller.hub.confirmed_by_all(controller.hub.revision)
        )
        swap = house.registry.swaps.request(parse_ref("acme/triage@1.1"), actor="test")
        worker.confirms = False  # it goes on saying what it had in flight before
        await wait_until_async("the cut-over", lambda: house.registry.swaps.get(swap.id).state == "draining")
        await never("done on an old report", lambda: house.registry.swaps.get(swap.id).state == "done")
        worker.by_version = {old.id: 1, new.id: 5}
        worker.confirms, worker.seen = True, controller.hub.revision
        worker.report()
        await never("done under a request", lambda: house.registry.swaps.get(swap.id).state == "done")
        worker.by_version = {new.id: 5}
        house.registry.workers.report("w", "http://w", 10**6)
        await wait_until_async("it to be done", lambda: house.registry.swaps.get(swap.id).state == "done")
    assert house.registry.swaps.get(swap.id).detail["requests_left_on_old_version"] == 0


@pytest.mark.parametrize("confirms", [True, False])
async def test_what_is_left_on_the_old_version_is_unknown_while_a_worker_has_not_said(
    house: House, mock: MockEngine, confirms: bool
) -> None:
    old = house.publish("acme/triage")
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.registry.workers.report("w", "http://w", 10**6)
    async with office(house, mock.url, drain_timeout_s=0.3) as (_, address), follower(address, "w") as worker:
        await wait_until_async("a report", lambda: worker.seen >= 0)
        worker.by_version = {old.id: 2}
        worker.confirms = confirms
        swap = house.registry.swaps.request(parse_ref("acme/triage@1.1"), actor="test")
        await wait_until_async("it to be done", lambda: house.registry.swaps.get(swap.id).state == "done")
    assert house.registry.swaps.get(swap.id).detail["requests_left_on_old_version"] == (2 if confirms else None)


async def test_a_worker_confirms_nothing_of_a_new_controller_that_it_has_not_heard_from(house: House) -> None:
    async with real_worker(house):
        async with played_office(house, "first") as links:
            first = await links.get()
            assert (await first.hear())["kind"] == "hello"
            first.say(Welcome(1), revision=500)
            await first.hear_of("seen", 500)
        async with played_office(house, "second") as links:
            second = await links.get()
            assert (await second.hear())["kind"] == "hello"
            assert (await second.hear())["seen"] == -1, "500 was the predecessor's"
            second.say(Welcome(2), revision=3)
            await second.hear_of("seen", 3)


async def test_an_engine_that_the_controller_does_not_manage_is_dropped(house: House) -> None:
    async with real_worker(house) as worker, played_office(house, "one") as links:
        for token, urls in ((1, ("http://a:1", "http://b:1")), (2, ("http://b:1",)), (3, ())):
            link = await links.get()
            engines = [EngineChanged(url, EngineStatus("up", None, "base"), ((7, "a-7"),), ()) for url in urls]
            link.say(Welcome(token), engines_at(*urls), *engines, revision=1)
            await wait_until_async("the view", partial(sees, worker, urls))
            assert sorted(worker.states()) == sorted(urls)
            link.hang_up()
            assert sees(worker, urls), "without a link the view stays"


async def test_what_is_known_of_an_engine_does_not_outlive_the_base_that_it_was_declared_to_serve(house: House) -> None:
    there = EngineChanged("http://a:1", EngineStatus("up", None, "base"), ((7, "a-7"),), ())
    async with real_worker(house) as worker, played_office(house, "one") as links:
        first = await links.get()
        first.say(Welcome(1), Engines((Engine("http://a:1", "sha256:0", "cpu", 16),)), there, revision=9)
        await wait_until_async("the view", lambda: resident(worker, 7) == "a-7")
        first.hang_up()
        second = await links.get()
        second.say(Welcome(2), Engines((Engine("http://a:1", "sha256:0", "gpu", 8),)), revision=0)
        await second.hear_of("seen", 0)
        assert resident(worker, 7) == "a-7", "a worker routes to what is on it, whatever else is said of it"
        second.say(Engines((Engine("http://a:1", "sha256:1", "gpu", 8),)), revision=1)
        await second.hear_of("seen", 1)
        assert (worker.view().engines, worker.states()) == ((), {}), "nobody has looked at it as one of this base"
        second.say(EngineChanged("http://a:1", EngineStatus("up", None, "other"), ((8, "b-8"),), ()), revision=2)
        await wait_until_async("what was found", lambda: resident(worker, 8) == "b-8")
        assert resident(worker, 7) is None


async def test_a_worker_serves_what_its_old_controller_published_until_the_new_one_has_looked(house: House) -> None:
    def engine(name: str) -> EngineChanged:
        return EngineChanged("http://a:1", EngineStatus("up", None, "base"), ((7, name),), ())

    async with real_worker(house) as worker, played_office(house, "one") as links:
        first = await links.get()
        first.say(Welcome(1), engines_at("http://a:1"), engine("a-7-1"), revision=9)
        await wait_until_async("the view", lambda: resident(worker, 7) == "a-7-1")
        first.hang_up()
        second = await links.get()
        hello = await second.hear()
        assert set(hello["trusted"]) == {"a-7-1", "base"}, "the new one is told what its workers route to"
        second.say(Welcome(2), engines_at("http://a:1"), revision=0)
        async with asyncio.timeout(DEADLINE_S):
            while (await second.hear())["seen"] != 0:
                assert resident(worker, 7) == "a-7-1"
        assert resident(worker, 7) == "a-7-1"
        second.say(engine("a-7-2"), revision=1)
        await wait_until_async("what the new one found", lambda: resident(worker, 7) == "a-7-2")
