"""Engines that stand still: noticed by their steps, given up within seconds, and taken back as they were."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx

from loadtest.ports import free_port
from loadtest.testing import MockEngine
from tests.support.link_parts import entry_of, office, real_worker, resident
from tests.support.stack import CHAT, MESSAGES, House, Stack, run, run_stack
from tests.support.waiting import DEADLINE_S, wait_until, wait_until_async

NAME = "acme/triage"
HUNG_AFTER_S = 0.6


@contextmanager
def two_engines(house: House) -> Iterator[Stack]:
    """One adapter in production, on its home of two engines; it has run there."""
    house.publish(NAME)
    house.point(NAME, "1.0")
    with run_stack(house, engines=({}, {}), engine_hung_after_s=HUNG_AFTER_S) as stack:
        stack.wait_resident(NAME)
        assert stack.chat(NAME).status_code == 200
        yield stack


def home_and_other(stack: Stack) -> tuple[MockEngine, MockEngine]:
    home = stack.worker.view().homes.order(f"{NAME}@1.0")[0]
    first, second = sorted(stack.engines, key=lambda engine: engine.url != home)
    return first, second


def state_of(stack: Stack, engine: MockEngine) -> str:
    return stack.worker.states()[engine.url][0]


def read_stream(stack: Stack, model: str, **body: Any) -> str:
    """A stream's whole text."""
    request = {"model": model, "messages": MESSAGES, "stream": True, **body}
    key = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    with httpx.stream("POST", f"{stack.url}{CHAT}", json=request, headers=key, timeout=DEADLINE_S) as answer:
        assert answer.status_code == 200
        return "".join(answer.iter_text())


@contextmanager
def long_stream_on(stack: Stack, engine: MockEngine, callers: ThreadPoolExecutor) -> Iterator[Future[str]]:
    """A stream that would take a minute, and has begun."""
    run(engine.faults(token_ms=100))
    before = run(engine.state())["answered"]
    reading = callers.submit(read_stream, stack, NAME, max_tokens=600, min_tokens=600)
    wait_until("the stream to run", lambda: run(engine.state())["running"] == 1)
    time.sleep(0.3)
    assert run(engine.state())["answered"] == before
    yield reading


def test_a_hung_engine_is_noticed_its_streams_end_with_an_error_and_other_requests_go_elsewhere(house: House) -> None:
    with two_engines(house) as stack, ThreadPoolExecutor(4) as callers:
        home, other = home_and_other(stack)
        with long_stream_on(stack, home, callers) as reading:
            run(home.faults(hang=True))
            began = time.monotonic()
            unbegun = [callers.submit(stack.chat, NAME) for _ in range(2)]
            answers = [one.result() for one in unbegun]
            text = reading.result()
        assert time.monotonic() - began < 30.0, "the stream would take a minute"
        assert [answer.status_code for answer in answers] == [200, 200]
        assert {answer.json()["model"] for answer in answers} == {f"{NAME}@1.0"}
        assert text.count('"engine_broke"') == 1
        assert "[DONE]" not in text.partition('"engine_broke"')[0]
        assert state_of(stack, home) == "hung"
        assert state_of(stack, other) == "up"
        assert [engine.url for engine in stack.worker.view().engines] == [other.url]
        wait_until("nothing to be in flight", lambda: stack.worker.in_flight.total() == 0)


def test_an_engine_that_hangs_no_longer_comes_back_with_what_it_held(house: House) -> None:
    with two_engines(house) as stack, ThreadPoolExecutor(1) as callers:
        home, _ = home_and_other(stack)
        before = run(home.state())
        routes = {engine.url: dict(engine.resident) for engine in stack.worker.view().engines}[home.url]
        with long_stream_on(stack, home, callers) as reading:
            run(home.faults(hang=True))
            assert "engine_broke" in reading.result()
        run(home.faults(hang=False, token_ms=0))
        wait_until("it to come back", lambda: state_of(stack, home) == "up")
        assert {engine.url: dict(engine.resident) for engine in stack.worker.view().engines}[home.url] == routes
        after = run(home.state())
        assert (after["loads"], after["unloads"]) == (before["loads"], before["unloads"])
        assert stack.chat(NAME).status_code == 200


def test_a_request_that_waits_for_a_cold_adapter_on_a_hung_engine_is_served_by_another(house: House) -> None:
    with two_engines(house) as stack, ThreadPoolExecutor(2) as callers:
        home, _ = home_and_other(stack)
        for number in range(20):  # one whose home is the engine that will hang
            cold = f"acme/cold-{number}@1.0"
            if stack.worker.view().homes.order(cold)[0] == home.url:
                break
        house.publish(cold.removesuffix("@1.0"))
        stack.wait_revision()
        with long_stream_on(stack, home, callers) as reading:
            run(home.faults(hang=True))
            answer = stack.chat(cold)
            assert (answer.status_code, answer.json().get("model")) == (200, cold)
            assert "engine_broke" in reading.result()
        run(home.faults(hang=False, token_ms=0))
        wait_until("it to come back", lambda: state_of(stack, home) == "up")
        managed = next(engine for engine in stack.controller.engines if engine.url == home.url)
        wait_until(
            "the load that was given up to leave no trace",
            lambda: set(run(home.state())["loaded"]) == managed.residency.names and not managed.residency.leaving,
        )


def test_an_engine_that_is_slow_and_makes_steps_is_never_called_hung(house: House) -> None:
    with two_engines(house) as stack, ThreadPoolExecutor(1) as callers:
        home, _ = home_and_other(stack)
        run(home.faults(token_ms=HUNG_AFTER_S * 500))
        answer = callers.submit(stack.chat, NAME, max_tokens=8, min_tokens=8)  # nothing is heard of it for 4 periods
        seen = set()
        while not answer.done():
            seen.add(state_of(stack, home))
            time.sleep(0.02)
        assert answer.result().status_code == 200
        assert seen == {"up"}


def test_an_engine_that_stands_still_for_a_moment_while_it_loads_is_not_called_hung(house: House) -> None:
    house.publish("acme/cold")
    with two_engines(house) as stack:
        stack.faults(load_stall_ms=HUNG_AFTER_S * 500)
        seen = set()
        with ThreadPoolExecutor(2) as callers:
            answers = [callers.submit(stack.chat, name) for name in ("acme/cold@1.0", NAME)]
            while not all(answer.done() for answer in answers):
                seen |= {state_of(stack, engine) for engine in stack.engines}
                time.sleep(0.02)
        assert [answer.result().status_code for answer in answers] == [200, 200]
        assert seen == {"up"}


def test_an_idle_engine_whose_core_stands_still_harms_nobody(house: House) -> None:
    with two_engines(house) as stack:
        run(home_and_other(stack)[0].faults(hang=True))
        time.sleep(2 * HUNG_AFTER_S)
        answer = stack.chat(NAME)
        assert answer.status_code == 200


async def test_an_engine_that_is_silent_is_slow_first_and_hung_later(house: House) -> None:
    port = free_port()
    version = house.publish(NAME)
    command = [sys.executable, "-m", "loadtest.mock_engine", "--port", str(port), "--model", str(house.base_folder)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        async with real_worker(house) as worker, office(house, url) as (controller, _):
            engine = controller.engines[0]
            engine.health.hung_after_s = 1.0
            await wait_until_async("the engine to be up", lambda: engine.health.state == "up")
            await controller.ensure(url, entry_of(house, version.id))
            await wait_until_async("the worker to know", lambda: resident(worker, version.id))
            name, boot = engine.residency.resident[version.id].name, engine.residency.boot
            process.send_signal(signal.SIGSTOP)
            await wait_until_async("it to be slow", lambda: engine.health.state == "slow")
            await wait_until_async("the worker to know", lambda: worker.states()[url][0] == "slow")
            assert resident(worker, version.id) == name, "it may only be busy"
            await wait_until_async("it to be hung", lambda: engine.health.state == "hung")
            await wait_until_async("it to leave the routes", lambda: not worker.view().engines)
            process.send_signal(signal.SIGCONT)
            await wait_until_async("it to come back", lambda: engine.health.state == "up")
            assert (engine.residency.resident[version.id].name, engine.residency.boot) == (name, boot)
            await wait_until_async("the routes", lambda: resident(worker, version.id) == name)
    finally:
        process.kill()
        await process.wait()
