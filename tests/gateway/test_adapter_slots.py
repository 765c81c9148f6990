"""One tenant's adapters leave room for another's: in the engine's steps, in its places, and while they are loaded."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from registry.names import parse_ref
from tests.support.stack import House, Stack, run_stack
from tests.support.waiting import wait_until

STORM = [f"acme/task-{number}" for number in range(18)]
OTHER = "globex/support"
LONG: dict[str, Any] = {"stream": True, "max_tokens": 400, "min_tokens": 400}


@pytest.fixture
def filled(house: House) -> House:
    """Many adapters of acme, and one of globex in production."""
    for name in STORM:
        house.publish(name)
    house.publish(OTHER)
    house.point(OTHER, "1.0")
    house.keys["acme+base"] = house.key("acme", "inference", "base")
    return house


@contextmanager
def streams(stack: Stack, *names: str) -> Iterator[list[Future[Any]]]:
    """A long answer on each of these, which ends with the block."""
    with ThreadPoolExecutor(len(names)) as callers:
        answers = [callers.submit(stack.chat, f"{name}@1.0", **LONG) for name in names]
        try:
            yield answers
        finally:
            stack.faults(token_ms=0)
        assert [answer.result().status_code for answer in answers] == [200] * len(names)


def shown(stack: Stack) -> str:
    """What Prometheus is told."""
    return stack.http.get(f"{stack.url}/metrics", headers=stack.operator).text


def running(stack: Stack) -> int:
    """Requests in the engine's batch."""
    return int(stack.state()["running"])


def test_long_answers_on_many_adapters_leave_a_slot_for_another_tenant(filled: House) -> None:
    with run_stack(filled, engines=({"max_loras": 4},)) as stack:
        stack.wait_resident(OTHER)
        stack.chat(OTHER, key="globex")
        wait_until("the number of slots to be known", lambda: stack.worker.view().engines[0].status.slots == 4)
        stack.faults(token_ms=50)
        with streams(stack, *STORM[:4]) as answers:
            wait_until("the streams to run", lambda: running(stack) == 3 and stack.worker.slots.waiting == 1)
            answer = stack.chat(OTHER, key="globex")
            assert answer.status_code == 200
            assert not any(one.done() for one in answers), "the others were to be at it still"
            assert stack.state()["waiting"] == 0, "what the engine cannot run was sent to it"
            wait_until("the metric to say so", lambda: "switchyard_slot_waiting_requests 1" in shown(stack))


def test_long_answers_take_no_places_that_another_tenant_needs(filled: House) -> None:
    """The engine would run as many as it holds: 16, of which the swap and the adapter of zeros have one each."""
    with run_stack(filled, engines=({"max_loras": 16, "max_num_seqs": 64},)) as stack:
        stack.wait_resident(OTHER)
        filled.publish("globex/cold")
        stack.wait_revision()
        stack.chat(OTHER, key="globex")
        stack.faults(token_ms=50)
        with streams(stack, *STORM):
            wait_until("the streams to run", lambda: running(stack) == 13 and stack.worker.slots.waiting >= 1)
            answer = stack.chat("globex/cold@1.0", key="globex")
            assert answer.status_code == 200, answer.text


def test_what_is_loaded_waits_for_its_slot_before_its_proof_and_holds_up_no_other_load(filled: House) -> None:
    """A proof is a request: without a slot it waits in the engine, before others, until a long answer ends."""
    with run_stack(filled, engines=({"max_loras": 4},)) as stack, ThreadPoolExecutor(3) as callers:
        stack.wait_resident(OTHER)
        filled.publish("globex/cold")
        stack.wait_revision()
        stack.chat(OTHER, key="globex")
        (engine,), slots = stack.controller.engines, stack.worker.slots
        wait_until("the number of slots to be known", lambda: stack.worker.view().engines[0].status.slots == 4)
        stack.faults(token_ms=50)
        with streams(stack, *STORM[:3]):
            wait_until("the streams to run", lambda: running(stack) == 3)
            answers = [callers.submit(stack.chat, OTHER, key="globex", **LONG)]
            wait_until("all slots to be taken", lambda: running(stack) == 4)
            before = stack.state()["loads"]
            for number, (name, key) in enumerate(((STORM[3], "acme"), ("globex/cold", "globex")), 1):
                answers.append(callers.submit(stack.chat, f"{name}@1.0", key=key, max_tokens=1))
                wait_until("it to be there", lambda: stack.state()["loads"] == before + number)  # noqa: B023
                wait_until("it to wait for a slot", lambda: slots.waiting == number)  # noqa: B023
            assert (running(stack), stack.state()["waiting"]) == (4, 0), "a proof was sent to the engine"
            assert len(engine.residency.adoptable) == 2
            stack.faults(token_ms=0)
            assert [answer.result().status_code for answer in answers] == [200] * 3
            assert not engine.residency.adoptable


def test_what_waits_for_a_slot_may_make_room_and_is_loaded_once_more(filled: House) -> None:
    with run_stack(filled, engines=({"max_loras": 2, "max_cpu_loras": 8},), engine_max_cpu_loras=8) as stack:
        stack.wait_resident(OTHER)
        (engine,) = stack.controller.engines
        stack.chat(OTHER, key="globex")
        wait_until("the number of slots to be known", lambda: stack.worker.view().engines[0].status.slots == 2)
        stack.faults(token_ms=50)
        with streams(stack, STORM[0]), ThreadPoolExecutor(2) as callers:
            wait_until("the stream to run", lambda: running(stack) == 1)
            other = callers.submit(stack.chat, OTHER, key="globex", **LONG)
            wait_until("all slots to be taken", lambda: running(stack) == 2)
            waits = callers.submit(stack.chat, f"{STORM[1]}@1.0", max_tokens=1)
            wait_until("it to be there", lambda: len(engine.residency.adoptable) == 1)
            (version_id,) = engine.residency.adoptable
            stack.controller.loading.retire(engine, version_id)
            wait_until("it to be gone", lambda: not engine.residency.leaving)
            stack.faults(token_ms=0)
            assert waits.result().status_code == 200, waits.result().text
            assert version_id in engine.residency.resident
            assert other.result().status_code == 200


def test_a_storm_of_cold_adapters_makes_another_tenant_wait_for_one_load(filled: House) -> None:
    with run_stack(filled) as stack, ThreadPoolExecutor(len(STORM) + 1) as callers:
        stack.wait_resident(OTHER)
        filled.publish("globex/cold")
        stack.wait_revision()
        stack.faults(load_ms=2_000)
        storm = [callers.submit(stack.chat, f"{name}@1.0") for name in STORM]
        tasks, version = stack.controller.loading.tasks, filled.registry.adapters.get(parse_ref("globex/cold@1.0"))
        wait_until("the storm to wait", lambda: len(tasks) >= 6)
        other = callers.submit(stack.chat, "globex/cold@1.0", key="globex")
        wait_until("the other's load to wait", lambda: (stack.engine.url, version.id) in tasks)
        before, waiting = stack.state()["loads"], len(tasks)
        assert waiting >= 6
        stack.faults(load_ms=20)
        answer = other.result()
        assert answer.status_code == 200, answer.text
        assert stack.state()["loads"] <= before + 3, "the one that ran, its own, and one that began since"
        assert {one.result().status_code for one in storm} == {200}


def test_loads_pause_while_they_would_take_much_of_the_time_of_others_streams_and_no_longer(filled: House) -> None:
    """An answer is given up after 30 s; by the seconds of the first load the second would wait for longer."""
    with run_stack(filled, engine_load_share=0.001) as stack, ThreadPoolExecutor(2) as callers:
        stack.wait_resident(OTHER)
        (engine,), loading = stack.controller.engines, stack.controller.loading
        stack.faults(token_ms=50, load_ms=60)
        other = callers.submit(stack.chat, OTHER, key="globex", **LONG)
        wait_until("it to be reported", lambda: stack.controller.hub.running_on(engine.url) == 1)
        assert stack.chat(f"{STORM[0]}@1.0", max_tokens=1).status_code == 200
        before = stack.state()["loads"]
        second = callers.submit(stack.chat, f"{STORM[1]}@1.0", max_tokens=1)
        wait_until("it to pause", lambda: loading.running_on(engine.url) == 1 and not engine.loading.locked())
        assert stack.state()["loads"] == before
        assert not other.done()
        stack.faults(token_ms=0, load_ms=0)
        assert other.result().status_code == 200
        assert second.result().status_code == 200, second.result().text


def test_a_tenant_has_a_bounded_number_of_loads_in_the_queue_and_is_told_so(filled: House) -> None:
    with run_stack(filled, engine_queued_loads_per_tenant=2) as stack, ThreadPoolExecutor(4) as callers:
        stack.wait_resident(OTHER)
        stack.faults(load_ms=3_000)
        loading = stack.controller.loading
        for number in range(1, 4):
            callers.submit(stack.chat, f"{STORM[number]}@1.0")
            wait_until("the load to wait", lambda: loading.running_on(stack.engine.url) == number)  # noqa: B023
        refused = stack.chat(f"{STORM[5]}@1.0")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "adapter_loads")
        assert refused.headers["retry-after"]
        assert "2 of this tenant's adapters wait to be loaded" in refused.json()["error"]["message"]
        assert f'switchyard_loads_total{{engine="{stack.engine.url}",result="refused"}} 1' in shown(stack)
        stack.faults(load_ms=0)


def test_who_loads_many_adapters_takes_places_from_itself(filled: House) -> None:
    with run_stack(filled, engines=({"max_cpu_loras": 8},), engine_max_cpu_loras=8) as stack:
        stack.wait_resident(OTHER)
        stack.chat(OTHER, key="globex")
        for name in STORM:
            assert stack.chat(f"{name}@1.0").status_code == 200
        before = stack.state()["loads"]
        assert stack.chat(OTHER, key="globex").status_code == 200
        assert stack.state()["loads"] == before, "it was put out, though its tenant has one place"
