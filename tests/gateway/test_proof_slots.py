"""Proofs of swaps and preloads run when they have a slot: in the engine they would wait before others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.engines import managed
from gateway.engines.faults import AdapterRejected
from gateway.engines.managed import ManagedEngine
from gateway.fleet import court, loading, proof_slots
from gateway.fleet.adapter_slots import AdapterSlots
from gateway.fleet.hub import Hub
from gateway.fleet.proof_slots import HeldForProofs, ProofSlots
from gateway.fleet.slot_messages import ProofSlot, ProofSlotLeft, ProofSlotWanted
from gateway.fleet.view import ColdAdapterFailed
from loadtest.testing import run_mock_engine
from registry.catalog.snapshot import VersionEntry
from registry.names import parse_ref
from tests.support.link_parts import entry_of, office, real_worker
from tests.support.stack import House, Stack, run_stack
from tests.support.waiting import DEADLINE_S, wait_until, wait_until_async

URL = "http://engine"
OWN = ("acme/one", "acme/two")
OTHER = "globex/support"
LONG: dict[str, Any] = {"stream": True, "max_tokens": 400, "min_tokens": 400}
VERSION = cast(VersionEntry, SimpleNamespace(id=7, tenant="acme", name="acme/triage@1.1"))


@contextmanager
def full(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """An engine that runs two adapters, with a long answer on each of two; they end when the block does."""
    monkeypatch.setattr(loading, "PRELOAD_RETRY_S", 0.1)
    for name in (*OWN, OTHER):
        house.publish(name)
        house.point(name, "1.0")
    with run_stack(house, engines=({"max_loras": 2, "max_cpu_loras": 8},), engine_max_cpu_loras=8) as stack:
        stack.wait_resident(*(f"{name}@1.0" for name in (*OWN, OTHER)))
        assert stack.chat(OTHER, key="globex").status_code == 200
        wait_until("the number of slots to be known", lambda: stack.worker.view().engines[0].status.slots == 2)
        stack.faults(token_ms=50)
        with ThreadPoolExecutor(2) as callers:
            try:
                answers = [callers.submit(stack.chat, name, key=name.split("/")[0], **LONG) for name in (OWN[0], OTHER)]
                wait_until("both slots to be taken", lambda: stack.state()["running"] == 2)
                yield stack
            finally:
                stack.faults(token_ms=0)
            assert [answer.result().status_code for answer in answers] == [200, 200]


def test_a_swap_waits_for_a_slot_and_not_in_the_engine(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with full(house, monkeypatch) as stack, ThreadPoolExecutor(1) as operator:
        version = house.publish(OWN[1])
        (engine,) = stack.controller.engines
        swap = operator.submit(house.promote, OWN[1], "1.1")
        wait_until("it to wait for a slot", lambda: stack.worker.slots.waiting == 1)
        assert version.id in engine.residency.adoptable
        assert (stack.state()["running"], stack.state()["waiting"]) == (2, 0), "its proof was sent to the engine"
        stack.faults(token_ms=0)
        assert swap.result(DEADLINE_S).state == "done"
        wait_until("its slot to be given back", lambda: vars(stack.worker)["_proofs"]._held == {})


def test_what_is_loaded_for_nobody_is_proven_when_a_slot_is_free(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with full(house, monkeypatch) as stack:
        (engine,) = stack.controller.engines
        version = house.publish("acme/three")
        house.point("acme/three", "1.0")
        wait_until("it to be there", lambda: version.id in engine.residency.adoptable)
        wait_until("its load to end", lambda: not stack.controller.loading.tasks)
        assert stack.worker.slots.waiting == 0, "nobody waits for it, so it closes nobody's slot"
        assert stack.state()["waiting"] == 0, "its proof was sent to the engine"
        assert version.id in engine.residency.adoptable
        stack.faults(token_ms=0)
        stack.wait_resident("acme/three@1.0")


def test_a_version_in_quarantine_is_tried_again_when_a_slot_is_free(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(court, "FIRST_RETRIAL_S", 0.1)
    monkeypatch.setattr(court, "LOOK_FOR_RETRIALS_S", 0.0)
    with full(house, monkeypatch) as stack:
        version = house.registry.adapters.get(parse_ref(f"{OWN[1]}@1.0"))
        loads = stack.state()["loads"]
        house.registry.adapters.quarantine(version.id, "an engine refused it", by_machine=True)

        def tried() -> bool:
            retrials = vars(stack.controller.court)["_retrials"]
            return version.id in retrials and retrials[version.id].pause_s > 4 * court.FIRST_RETRIAL_S

        wait_until("it to have been its turn", tried)
        assert (stack.state()["loads"], stack.state()["waiting"]) == (loads, 0), "it ran beside what has a slot"
        stack.faults(token_ms=0)
        wait_until("it to be proven", lambda: not house.registry.adapters.quarantined())


def test_whether_an_engine_is_at_fault_is_found_out_with_a_slot_and_meanwhile_it_loads_for_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed, "LOAD_PAUSES_S", ())
    with full(house, monkeypatch) as stack, ThreadPoolExecutor(1) as caller:
        house.publish("acme/bad")
        stack.wait_revision()
        (engine,) = stack.controller.engines
        stack.faults(fail_next_load=[400])
        asked = caller.submit(stack.chat, "acme/bad@1.0")
        wait_until("it to wait for a slot", lambda: stack.worker.slots.waiting == 1)
        assert stack.state()["waiting"] == 0, "another adapter's proof was sent to the engine"
        assert not engine.loading.locked()
        stack.faults(token_ms=0)
        assert asked.result().json()["error"]["code"] == "model_quarantined"
        wait_until("its slot to be given back", lambda: vars(stack.worker)["_proofs"]._held == {})


async def test_who_has_a_slot_has_it_proven_at_once_whatever_waits_for_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a request would wait for a proof that waits for the request's slot."""
    version = entry_of(house, house.publish("acme/triage").id)
    async with (
        run_mock_engine(model=str(house.base_folder)) as mock,
        office(house, mock.url, looks=False) as (controller, _),
        real_worker(house) as worker,
    ):
        await controller.checks.look_at(controller.engines[0], reconcile=False)
        await worker.informed.wait()
        worker.slots.fit({mock.url: 1})
        monkeypatch.setattr(worker.slots, "fit", lambda _most: None)
        assert worker.slots.join(mock.url, 0, "globex")
        swap = asyncio.create_task(controller.ensure(mock.url, version, for_swap=True))
        await wait_until_async("it to wait for a slot", lambda: worker.slots.waiting == 1)
        assert not swap.done()
        async with asyncio.timeout(DEADLINE_S):
            await worker.ensure(mock.url, version)
            await swap
        await wait_until_async("nobody to wait any more", lambda: worker.slots.waiting == 0)


class Links:
    """A hub whose workers hear what they are told."""

    def __init__(self, *workers: str) -> None:
        self.links = {name: SimpleNamespace(worker=name, send=self.said(name)) for name in workers}
        self.heard: list[tuple[str, object]] = []
        self.proofs = ProofSlots(cast(Hub, self))

    def said(self, name: str) -> Any:
        return lambda message: self.heard.append((name, message))

    def broadcast(self, message: object) -> None:
        for link in self.links.values():
            link.send(message)

    async def prove(self) -> bool:
        async with self.proofs.one(URL, VERSION, waits=True) as had:
            return had


async def heard_of(links: Links, number: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while len(links.heard) < number:
            await asyncio.sleep(0.001)


async def test_another_worker_is_asked_when_the_first_goes_and_none_where_there_is_none() -> None:
    links = Links("a", "b")
    assert await Links().prove()
    proving = asyncio.create_task(links.prove())
    await heard_of(links, 1)
    wanted = ProofSlotWanted(1, URL, 7, "acme", waits=True)
    del links.links["a"]
    await heard_of(links, 2)
    assert links.heard == [("a", wanted), ("b", wanted)]
    links.proofs.take(ProofSlot(1, had=False))
    assert not await proving
    assert links.heard[2:] == [("b", ProofSlotLeft(1))]
    links.proofs.take(ProofSlot(1, had=True))  # late, and of nobody's concern


async def test_a_wait_for_a_slot_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof_slots, "MOST_S", 0.0)
    monkeypatch.setattr(proof_slots, "LOOK_S", 0.001)
    links = Links("a")
    with pytest.raises(ColdAdapterFailed, match="waited 0 s to be proven"):
        await links.prove()
    assert links.heard[-1] == ("a", ProofSlotLeft(1))
    assert vars(links.proofs)["_answers"] == vars(links.proofs)["_wanted"] == {}


class Worker:
    """One with an engine that runs a single adapter."""

    def __init__(self) -> None:
        self.slots = AdapterSlots()
        self.slots.fit({URL: 1})
        self.said: list[Any] = []
        self.held = HeldForProofs(self.slots, self.said.append)

    async def asked(self, number: int, *, waits: bool) -> None:
        self.held.take(ProofSlotWanted(number, URL, 100 + number, "acme", waits))
        for _ in range(5):
            await asyncio.sleep(0)


async def test_a_proof_has_a_slot_as_a_request_has_and_gives_it_back() -> None:
    worker = Worker()
    await worker.asked(1, waits=True)
    assert worker.said == [ProofSlot(1, had=True)]
    assert not worker.slots.join(URL, 1, "acme")
    await worker.asked(2, waits=False)
    assert worker.said[1:] == [ProofSlot(2, had=False)]
    await worker.asked(3, waits=True)
    assert worker.slots.waiting == 1
    worker.held.take(ProofSlotLeft(1))
    async with asyncio.timeout(DEADLINE_S):
        while len(worker.said) < 3:
            await asyncio.sleep(0)
    assert worker.said[2:] == [ProofSlot(3, had=True)]
    worker.held.end()
    await asyncio.sleep(0)
    assert worker.slots.join(URL, 1, "acme"), "a link that breaks gives all of them back"


async def test_a_proof_that_is_over_before_its_turn_leaves_the_line() -> None:
    worker = Worker()
    assert worker.slots.join(URL, 1, "acme")
    await worker.asked(1, waits=True)
    worker.held.take(ProofSlotLeft(1))
    await asyncio.sleep(0)
    assert (worker.slots.waiting, worker.said) == (0, [])
    worker.held.take(ProofSlotLeft(2))  # nothing is known of it


async def test_who_gets_no_slot_to_ask_with_whether_an_engine_is_at_fault_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proof_slots, "MOST_S", 0.0)
    monkeypatch.setattr(proof_slots, "LOOK_S", 0.001)
    engine = cast(ManagedEngine, SimpleNamespace(url=URL, profile=SimpleNamespace(generates=True)))
    nothing = cast(Any, None)
    judges = court.Court([engine], nothing, nothing, nothing, nothing, nothing, nothing, nothing)
    slot = Links("a").proofs.one(URL, VERSION, waits=True)
    failed = await judges.judge(engine, VERSION, AdapterRejected("no such layer"), slot)
    assert not failed.permanent
    assert "no such layer; whether the engine is at fault is not known yet: acme/triage@1.1 waited 0 s" in str(failed)
