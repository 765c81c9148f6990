"""Engines that are drained, refused, half-loaded, sick or new: what each of them may still do, and what it may not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from gateway.settings import EngineSettings
from loadtest.folders import write_adapter
from loadtest.testing import MockEngine
from registry.names import parse_ref
from tests.support.adapter_folders import TinyBase, base_tensors
from tests.support.stack import House, Stack, run, run_engines, run_gateway, run_stack
from tests.support.waiting import wait_until

NAMES = [f"acme/task-{number}" for number in range(6)]


@pytest.fixture
def filled(house: House) -> House:
    """Six adapters in production."""
    for name in NAMES:
        house.publish(name)
        house.point(name, "1.0")
    return house


@contextmanager
def two_engines(house: House) -> Iterator[Stack]:
    with run_stack(house, engines=({}, {})) as stack:
        stack.wait_resident(*NAMES)
        yield stack


def urls(stack: Stack) -> list[str]:
    return [engine.url for engine in stack.worker.view().engines]


def state_of(stack: Stack, engine: MockEngine) -> str:
    return stack.worker.states()[engine.url][0]


def version_id(house: House, name: str) -> int:
    return house.registry.adapters.get(parse_ref(name)).id


def holders(stack: Stack, name: str) -> set[str]:
    wanted = version_id(stack.house, name)
    return {engine.url for engine in stack.worker.view().engines if wanted in engine.resident}


def home_of(stack: Stack, name: str) -> tuple[MockEngine, MockEngine]:
    """The engine that is an adapter's first home, and the other one."""
    home = stack.worker.view().homes.order(f"{name}@1.0")[0]
    first, second = sorted(stack.engines, key=lambda engine: engine.url != home)
    return first, second


def names_at_home_on(stack: Stack, engine: MockEngine) -> list[str]:
    return [name for name in NAMES if home_of(stack, name)[0] is engine]


def busier(stack: Stack) -> tuple[MockEngine, MockEngine]:
    """The engine that more adapters are at home on, at least three, and the other one: ports decide, by chance."""
    first, second = sorted(stack.engines, key=lambda engine: -len(names_at_home_on(stack, engine)))
    return first, second


def drain(stack: Stack, engine: MockEngine) -> None:
    stack.house.registry.drains.order(engine.url, actor="test")
    wait_until("it to be drained", lambda: state_of(stack, engine) == "draining")


def test_a_drained_engine_finishes_what_runs_and_gets_nothing_new(filled: House) -> None:
    with two_engines(filled) as stack, ThreadPoolExecutor(1) as callers:
        engine, _ = busier(stack)
        name = names_at_home_on(stack, engine)[0]
        run(engine.faults(token_ms=50))
        running = callers.submit(stack.chat, name, max_tokens=30, min_tokens=30)
        wait_until("the request to run", lambda: run(engine.state())["running"] == 1)
        drain(stack, engine)
        assert not running.done()
        asked = run(engine.state())["identified"]
        assert [stack.chat(name).status_code for name in NAMES] == [200] * len(NAMES)
        assert run(engine.state())["identified"] == asked
        answer = running.result()
        assert (answer.status_code, answer.json()["usage"]["completion_tokens"]) == (200, 30)


def test_a_drained_engine_is_no_home_for_preloads_and_swaps(filled: House) -> None:
    with two_engines(filled) as stack:
        engine, other = busier(stack)
        mine = names_at_home_on(stack, engine)
        drain(stack, engine)
        loads = run(engine.state())["loads"]
        wait_until(
            "its adapters to come to the other", lambda: all(holders(stack, name) == {other.url} for name in mine)
        )
        filled.publish(mine[0])
        swap = filled.promote(mine[0], "1.1")
        assert (swap.state, swap.detail["engines"]) == ("done", [other.url])
        assert stack.chat(mine[0]).json()["model"] == f"{mine[0]}@1.1"
        assert run(engine.state())["loads"] == loads


def test_an_engine_whose_drain_is_lifted_serves_what_it_holds_again(filled: House) -> None:
    with two_engines(filled) as stack:
        engine, _ = busier(stack)
        mine = names_at_home_on(stack, engine)
        drain(stack, engine)
        loads = run(engine.state())["loads"]
        assert filled.registry.drains.lift(engine.url)
        wait_until("it to be up", lambda: state_of(stack, engine) == "up")
        assert [stack.chat(name).status_code for name in mine] == [200] * len(mine)
        assert run(engine.state())["loads"] == loads
        assert sum(run(engine.state())["answered"].values()) >= len(mine)


def test_with_every_engine_drained_requests_are_told_to_come_back(filled: House) -> None:
    with two_engines(filled) as stack:
        for engine in stack.engines:
            drain(stack, engine)
        answer = stack.chat(NAMES[0])
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_unavailable")
        assert int(answer.headers["retry-after"]) > 0


def test_two_bases_are_live_at_once_and_every_request_goes_to_its_own(filled: House) -> None:
    folder = TinyBase(tensors=base_tensors(seed=99)).write(filled.folder / "other-base")
    filled.registry.bases.register("other", folder)
    source = write_adapter(filled.folder / "other-adapter", TinyBase().config, seed=99)
    filled.registry.adapters.publish(
        tenant="acme", adapter="exotic", folder=source, base="other", lineage={"source": "test"}
    )
    filled.point("acme/exotic", "1.0")
    key = filled.key("acme", "inference", "base")
    with run_engines(filled, {}, {"model": str(folder)}) as mocks:
        declared = [
            EngineSettings(url=mock.url, base=base) for mock, base in zip(mocks, ("tiny", "other"), strict=True)
        ]
        with run_gateway(filled, mocks, engines=declared) as stack:
            stack.wait_resident(*NAMES, "acme/exotic")
            assert [holders(stack, name) for name in NAMES] == [{mocks[0].url}] * len(NAMES)
            assert holders(stack, "acme/exotic") == {mocks[1].url}
            models = [*NAMES, "acme/exotic", "tiny", "other"]
            answers = [stack.chat(model, key=key) for model in models]
            assert [answer.status_code for answer in answers] == [200] * len(models)
            answered = [run(mock.state())["answered"] for mock in mocks]
            assert (len(answered[0]), len(answered[1])) == (len(NAMES) + 1, 2), "the base is one more on each"
            run(mocks[1].stop())
            assert stack.chat("acme/exotic").status_code == 503, "another base never stands in"
            assert stack.chat(NAMES[0]).status_code == 200


def test_an_engine_of_a_version_that_must_not_serve_is_refused_and_says_why(filled: House) -> None:
    with two_engines(filled) as stack:
        engine, other = stack.engines
        engine.options = replace(engine.options, version="0.30.0")
        run(engine.restart())
        wait_until("it to be refused", lambda: state_of(stack, engine) == "refused")
        assert urls(stack) == [other.url]
        assert "0.30.0 cannot be served from" in stack.readiness()["engines"][engine.url]
        assert [stack.chat(name).status_code for name in NAMES] == [200] * len(NAMES)
        assert run(engine.state())["loads"] == 0
        engine.options = replace(engine.options, version="0.32.0")
        run(engine.restart())
        wait_until("it to be taken back", lambda: state_of(stack, engine) == "up")


def test_a_sick_engine_is_left_and_taken_back_with_what_it_held(filled: House) -> None:
    with two_engines(filled) as stack:
        engine, other = stack.engines
        loads = run(engine.state())["loads"]
        run(engine.faults(unhealthy=True))
        wait_until("it to be left", lambda: urls(stack) == [other.url])
        assert [stack.chat(name).status_code for name in NAMES] == [200] * len(NAMES)
        run(engine.faults(unhealthy=False))
        wait_until("it to be taken back", lambda: len(urls(stack)) == 2)
        assert run(engine.state())["loads"] == loads


def test_an_adapter_that_is_loaded_by_half_is_never_routed_to(filled: House) -> None:
    filled.publish("acme/cold")
    with two_engines(filled) as stack:
        home, other = home_of(stack, "acme/cold")
        run(home.faults(half_load=True))
        unknown = run(home.state())["unknown_model"]
        for _ in range(3):
            answer = stack.chat("acme/cold@1.0")
            assert (answer.status_code, answer.json()["model"]) == (200, "acme/cold@1.0")
            wanted = version_id(filled, "acme/cold@1.0")
            held = {engine.url for engine in stack.worker.view().engines if wanted in engine.resident}
            assert held == {other.url}
        assert run(home.state())["unknown_model"] == unknown, "nobody was sent there"
        assert filled.registry.adapters.get(parse_ref("acme/cold@1.0")).quarantined is None


@pytest.mark.parametrize("garbage", ["bytes", "json"])
def test_an_engine_that_answers_garbage_costs_no_client_an_answer(filled: House, garbage: str) -> None:
    with two_engines(filled) as stack:
        engine, _ = busier(stack)
        mine = names_at_home_on(stack, engine)
        run(engine.faults(garbage=garbage))
        answers = [stack.chat(name) for name in mine for _ in range(4)]
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["model"] for answer in answers} == {f"{name}@1.0" for name in mine}


def test_an_engine_that_has_no_room_is_not_taken_for_a_broken_one(
    filled: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.fleet.loading.PLACE_TIMEOUT_S", 0.05)
    monkeypatch.setattr("gateway.fleet.arrivals.NEW_S", 0.0)  # else for longer than a place is waited for
    room_for_one = {"max_cpu_loras": 3}
    with run_stack(filled, engines=(room_for_one, room_for_one), engine_max_cpu_loras=3) as stack:
        full, other = busier(stack)
        busy, cold = names_at_home_on(stack, full)[:2]
        with ThreadPoolExecutor(1) as callers:
            assert stack.chat(busy).status_code == 200
            run(full.faults(token_ms=100))
            running = callers.submit(stack.chat, busy, max_tokens=60, min_tokens=60)
            wait_until("the request to run", lambda: run(full.state())["running"] == 1)
            for _ in range(4):  # each is refused by the full engine first, and served by the other
                assert stack.chat(cold).status_code == 200
                run(other.faults(forget_adapter=next(n for n in run(other.state())["loaded"] if "-0000" not in n)))
            assert list(stack.worker.breaker.avoided(time.monotonic())) == []
            assert running.result().status_code == 200


def test_after_a_restart_the_adapters_with_traffic_come_back_first(filled: House) -> None:
    with run_stack(filled, engines=({"max_cpu_loras": 5},), engine_max_cpu_loras=5) as stack:
        hot = NAMES[3:]  # there is room for three beside the zero adapter and the free place
        for _ in range(5):
            assert [stack.chat(name).status_code for name in hot] == [200] * len(hot)
        time.sleep(0.5)  # the workers' reports are in
        stack.restart_engine()
        wait_until("the zero adapter and three", lambda: stack.state()["loads"] == 1 + len(hot))
        wanted = {version_id(filled, name) for name in hot}
        wait_until("these three", lambda: set(stack.worker.view().engines[0].resident) == wanted)
        assert stack.state()["loads"] == 1 + len(hot)
