"""`switchyard gateway --workers 2`: any of its processes may be killed at any time, and nobody is left behind."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from loadtest.testing import MockEngine
from registry.fleet.workers import LEASE_MS
from registry.names import parse_ref
from tests.support.family_parts import Family, family, traffic
from tests.support.stack import BASE, CHAT, MESSAGES, open_house, run, run_engines
from tests.support.waiting import DEADLINE_S, wait_until

NAMES = ("acme/task-0", "acme/task-1", "acme/task-2")
VERSIONS = tuple(f"{name}@1.0" for name in NAMES)


@contextmanager
def served(folder: Path) -> Iterator[tuple[Family, list[MockEngine]]]:
    """Two engines; three adapters in production, each with a next version, and one that is cold."""
    with open_house(folder) as house:
        house.tenant("acme")
        for name in NAMES:
            house.publish(name)
            house.point(name, "1.0")
            house.publish(name)
        house.publish("acme/cold")
        with run_engines(house, {}, {}) as mocks, family(house, mocks, *VERSIONS) as gateway:
            yield gateway, mocks


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    """One for all tests that leave its parent alive."""
    with served(tmp_path_factory.mktemp("family")) as (gateway, _):
        yield gateway


@pytest.fixture
def gateway(shared: Family) -> Family:
    """The shared one, complete."""
    wait_until("two controllers", lambda: len(shared.children("controller")) == 2)
    wait_until("two workers", lambda: len(shared.children("worker")) == 2)
    wait_until("somebody to lead", lambda: shared.leader().is_running())
    return shared


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def stream_until_the_end(gateway: Family, model: str, tokens: int) -> str:
    body = {"model": model, "messages": MESSAGES, "stream": True, "max_tokens": tokens, "min_tokens": tokens}
    headers = {"Authorization": f"Bearer {gateway.house.keys['acme']}"}
    with httpx.stream("POST", f"{gateway.gateway.url}{CHAT}", json=body, headers=headers, timeout=DEADLINE_S) as answer:
        assert answer.status_code == 200
        return "".join(answer.iter_text())


def test_a_controller_killed_under_traffic_fails_no_request_and_is_succeeded(gateway: Family) -> None:
    registry, before = gateway.house.registry, gateway.leader()
    token = registry.leadership.current()
    assert token is not None
    with traffic(gateway, *VERSIONS) as load:
        time.sleep(0.3)
        before.kill()
        swap = registry.swaps.request(parse_ref(f"{NAMES[0]}@1.1"), actor="test")  # nobody leads now

        def succeeded() -> bool:
            lease = registry.leadership.current()
            return lease is not None and lease.token > token.token

        wait_until("a successor", succeeded)
        assert gateway.house.finished(swap.id).state == "done"
        wait_until("another to stand by", lambda: len(gateway.children("controller")) == 2)
        time.sleep(0.3)
    assert load.failures() == {}
    assert sum(load.outcomes.values()) > 30
    assert gateway.leader().pid != before.pid
    assert gateway.ask(NAMES[0]).json()["model"] == f"{NAMES[0]}@1.1"


def test_a_cold_adapter_asked_for_while_nobody_leads_is_served(gateway: Family) -> None:
    gateway.leader().kill()
    answer = gateway.ask("acme/cold@1.0")
    assert (answer.status_code, answer.json().get("model")) == (200, "acme/cold@1.0")


def test_a_controller_that_is_paused_is_succeeded_and_takes_nothing_back(gateway: Family) -> None:
    paused = gateway.leader()
    paused.suspend()
    try:
        with traffic(gateway, *VERSIONS) as load:
            wait_until("a successor", lambda: gateway.leader().pid != paused.pid)
            assert gateway.ask(f"{NAMES[1]}@1.1").status_code == 200
            paused.resume()
            assert gateway.house.promote(NAMES[1], "1.1").state == "done"
            time.sleep(0.5)
        assert load.failures() == {}
        assert gateway.leader().pid != paused.pid
    finally:
        paused.resume()


def test_a_worker_killed_is_started_again_while_the_other_serves(gateway: Family) -> None:
    live = gateway.house.registry.workers.live
    before = gateway.wait_worker_ids(2)
    first, second = gateway.children("worker")
    first.kill()
    wait_until("it to be struck off", lambda: len(live()) < 2, deadline_s=0.9 * LEASE_MS / 1000)
    answers = [gateway.ask(name).status_code for name in NAMES for _ in range(3)]
    assert answers == [200] * len(answers)
    wait_until("another worker", lambda: len(gateway.children("worker")) == 2)
    wait_until("the registry to know", lambda: gateway.wait_worker_ids(2) - before)
    assert gateway.parent.is_running()
    assert second.is_running()
    assert [gateway.ask(name).status_code for name in NAMES] == [200] * 3


def test_requests_are_served_by_both_workers(gateway: Family) -> None:
    def served(process: psutil.Process) -> float:
        return float(process.cpu_times().user)

    workers = gateway.children("worker")
    before = [served(worker) for worker in workers]
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda number: gateway.ask(NAMES[number % 3]).status_code, range(300)))
    assert answers == [200] * 300
    assert all(served(worker) > was for worker, was in zip(workers, before, strict=True))


def test_sigterm_lets_streams_finish_and_leaves_no_process(tmp_path: Path) -> None:
    with served(tmp_path) as (gateway, mocks):
        for mock in mocks:
            run(mock.faults(token_ms=50))
        assert f"listening on {gateway.gateway.url} with 2 workers" in gateway.gateway.log.read_text()
        parent, members = gateway.parent, gateway.parent.children(recursive=True)
        with ThreadPoolExecutor(4) as callers:
            streams = [callers.submit(stream_until_the_end, gateway, NAMES[number % 3], 60) for number in range(4)]
            wait_until("the streams to run", lambda: sum(run(mock.state())["running"] for mock in mocks) == 4)
            parent.send_signal(signal.SIGTERM)
            texts = [stream.result() for stream in streams]
        assert [text.count("data: [DONE]") for text in texts] == [1] * 4
        assert ["error" in text for text in texts] == [False] * 4
        assert parent.wait(timeout=DEADLINE_S) == 0
        assert all(gone(process) for process in members)
        registry = gateway.house.registry
        assert registry.leadership.current() is None, "the next gateway need not wait for the lease to lapse"
        assert registry.workers.live() == []


def test_what_runs_for_longer_than_the_grace_is_ended_properly_and_costs_nothing(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        house.tenant("acme")
        house.publish("acme/task-0")
        house.point("acme/task-0", "1.0")
        house.registry.tariffs.add(f"base:{BASE}", input_dollars="1", output_dollars="1", source="a test")
        with run_engines(house, {}) as (mock,), family(house, [mock], "acme/task-0", stop_grace_s=1) as gateway:
            run(mock.faults(token_ms=100))
            with ThreadPoolExecutor(1) as callers:
                stream = callers.submit(stream_until_the_end, gateway, "acme/task-0", 500)
                wait_until("the stream to run", lambda: run(mock.state())["running"] == 1)
                gateway.parent.send_signal(signal.SIGTERM)
                *_, error, done, _ = stream.result().split("\n\n")
            assert '"code":"shutting_down"' in error
            assert done == "data: [DONE]"
            wait_until("the parent to end", lambda: gone(gateway.parent))
        (row,) = house.usage(outcome="gateway_stopped")
        assert (row["usage_source"], row["cost_nano"]) == ("partial", 0)
        assert house.usage(outcome="lost") == []


def test_a_second_signal_ends_everything_at_once(tmp_path: Path) -> None:
    with served(tmp_path) as (gateway, mocks):
        for mock in mocks:
            run(mock.faults(token_ms=200))
        parent, members = gateway.parent, gateway.parent.children(recursive=True)
        with ThreadPoolExecutor(1) as callers:
            stream = callers.submit(stream_until_the_end, gateway, NAMES[0], 500)
            wait_until("the stream to run", lambda: sum(run(mock.state())["running"] for mock in mocks) == 1)
            parent.send_signal(signal.SIGTERM)
            wait_until("the parent to stop", lambda: "running answers may finish" in gateway.gateway.log.read_text())
            parent.send_signal(signal.SIGTERM)
            parent.wait(timeout=DEADLINE_S)
            assert isinstance(stream.exception(), httpx.HTTPError)
        assert all(gone(process) for process in members)


def test_a_parent_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    with served(tmp_path) as (gateway, _):
        members = gateway.parent.children(recursive=True)
        assert len(members) == 4
        gateway.parent.kill()
        wait_until("every process to be gone", lambda: all(gone(process) for process in members))
        with pytest.raises(httpx.ConnectError):
            gateway.ask(NAMES[0])
