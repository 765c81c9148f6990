"""An engine that is back is met for some seconds: requests wait for that, and for loads, and get no 503."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from gateway.engines.managed import ManagedEngine
from gateway.fleet import trials
from tests.support.stack import House, Stack, proof, run, run_stack
from tests.support.waiting import wait_until, wait_until_async

NAMES = [f"acme/task-{number}" for number in range(3)]


class Gate:
    """The examination of engines, which a test holds up; of those in `passes` it never does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.open.set()
        self.passes: set[str] = set()
        examine = trials.Trials.examine

        async def held_up(own: trials.Trials, engine: ManagedEngine) -> None:
            await wait_until_async("the gate to open", lambda: self.open.is_set() or engine.url in self.passes)
            await examine(own, engine)

        monkeypatch.setattr(trials.Trials, "examine", held_up)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def asked(stack: Stack, pool: ThreadPoolExecutor, *names: str) -> list[Future[Any]]:
    return [pool.submit(stack.chat, name) for name in names]


def filled(house: House) -> House:
    for number, name in enumerate(NAMES):
        house.publish(name, proof=proof(seed=number))
        house.point(name, "1.0")
    return house


def restart_behind(gate: Gate, stack: Stack) -> None:
    """The engine has started again, and is not met before the gate opens."""
    run(stack.engine.stop())
    stack.wait_state(stack.engine, "down")
    gate.open.clear()
    run(stack.engine.start())
    stack.wait_state(stack.engine, "starting")


def test_requests_wait_while_an_engine_that_is_back_is_met_and_adapters_are_loaded(house: House, gate: Gate) -> None:
    with run_stack(filled(house)) as stack, ThreadPoolExecutor(3) as pool:
        stack.wait_resident(*(f"{name}@1.0" for name in NAMES))
        run(stack.engine.stop())
        stack.wait_state(stack.engine, "down")
        assert stack.chat(NAMES[0]).status_code == 503, "nothing runs that could be waited for"
        gate.open.clear()
        run(stack.engine.start())
        stack.wait_state(stack.engine, "starting")
        waiting = asked(stack, pool, *NAMES)
        assert not any(one.done() for one in waiting)
        gate.open.set()
        assert [one.result().status_code for one in waiting] == [200] * 3


def test_the_first_engine_that_is_back_serves_who_waits_while_another_is_still_being_met(
    house: House, gate: Gate
) -> None:
    with run_stack(filled(house), engines=({}, {})) as stack, ThreadPoolExecutor(3) as pool:
        stack.wait_resident(*(f"{name}@1.0" for name in NAMES))
        gate.open.clear()
        for engine in stack.engines:
            run(engine.stop())
            stack.wait_state(engine, "down")
            run(engine.start())
            stack.wait_state(engine, "starting")
        waiting = asked(stack, pool, *NAMES)
        assert not any(one.done() for one in waiting)
        gate.passes.add(stack.engines[1].url)
        assert [one.result().status_code for one in waiting] == [200] * 3
        assert stack.worker.states()[stack.engine.url][0] == "starting"
        gate.open.set()


def test_requests_wait_no_longer_than_for_a_cold_load(house: House, gate: Gate) -> None:
    with run_stack(filled(house), cold_wait_s=0.2) as stack:
        stack.wait_resident(*(f"{name}@1.0" for name in NAMES))
        restart_behind(gate, stack)
        answer = stack.chat(NAMES[0])
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_unavailable")
        gate.open.set()
        stack.wait_ready()


def test_requests_that_wait_for_an_engine_which_turns_out_not_to_serve_are_told(house: House, gate: Gate) -> None:
    with run_stack(filled(house)) as stack, ThreadPoolExecutor(1) as pool:
        stack.wait_resident(*(f"{name}@1.0" for name in NAMES))
        restart_behind(gate, stack)
        (waiting,) = asked(stack, pool, NAMES[0])
        stack.faults(refuse_requests=400)
        gate.open.set()
        assert waiting.result().status_code == 503
        stack.wait_state(stack.engine, "refused")


def test_an_engine_that_is_down_holds_nothing_and_says_so(house: House) -> None:
    with run_stack(filled(house)) as stack:
        stack.wait_resident(*(f"{name}@1.0" for name in NAMES))
        wait_until("all to be counted", lambda: stack.worker.states()[stack.engine.url][2] == 3)
        run(stack.engine.stop())
        stack.wait_state(stack.engine, "down")
        assert stack.worker.states()[stack.engine.url][2] == 0
        (engine,) = stack.controller.document()["engines"]
        assert (engine["state"], engine["resident"], engine["places_used"]) == ("down", [], None)
        metrics = stack.http.get(f"{stack.url}/metrics", headers=stack.operator).text
        assert f'switchyard_resident_adapters{{engine="{stack.engine.url}"}} 0.0' in metrics
