"""Engines that forget, restart, die and fill up, under a gateway that goes on serving."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.stack import House, Stack, proof, run, run_engines, run_gateway, run_stack
from tests.support.waiting import wait_until

NAMES = [f"acme/task-{number}" for number in range(6)]


@pytest.fixture
def filled(house: House) -> House:
    """Six adapters of acme in production, one of them with an effect proof."""
    for number, name in enumerate(NAMES):
        house.publish(name, proof=proof() if number == 0 else None)
        house.point(name, "1.0")
    return house


@pytest.fixture
def fleet(filled: House) -> Iterator[Stack]:
    """One engine with room for all."""
    with run_stack(filled) as stack:
        stack.wait_resident(*NAMES)
        yield stack


def model_of(stack: Stack, name: str) -> str:
    answer = stack.chat(name)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["model"])


def served(stack: Stack) -> list[str]:
    return [model_of(stack, name) for name in NAMES]


ALL = [f"{name}@1.0" for name in NAMES]


def test_what_aliases_point_at_is_loaded_before_anybody_asks(fleet: Stack) -> None:
    loads = fleet.state()["loads"]
    assert loads == len(NAMES) + 1, "the zero adapter and the six"
    assert served(fleet) == ALL
    assert fleet.state()["loads"] == loads


def test_an_adapter_that_the_engine_forgot_is_loaded_again_and_its_request_served(fleet: Stack) -> None:
    for name in [name for name in fleet.state()["loaded"] if "-0000" not in name]:
        fleet.faults(forget_adapter=name)
    assert served(fleet) == ALL
    assert fleet.state()["loads"] == 2 * len(NAMES) + 1


def test_an_adapter_that_the_engine_forgot_is_noticed_before_anybody_asks(fleet: Stack) -> None:
    managed = fleet.controller.engines[0]
    lost = next(name for name in fleet.state()["loaded"] if "-0000" not in name)
    fleet.faults(forget_adapter=lost)
    wait_until("the loss to be noticed", lambda: lost not in managed.residency.names)
    fleet.wait_resident(*NAMES)
    asked = fleet.state()["unknown_model"]
    assert served(fleet) == ALL
    assert fleet.state()["unknown_model"] == asked


def test_a_zero_adapter_that_the_engine_forgot_comes_back(fleet: Stack) -> None:
    key = fleet.house.key("acme", "inference", "base")
    fleet.wait_revision()
    zero = next(name for name in fleet.state()["loaded"] if "-0000" in name)
    fleet.faults(forget_adapter=zero)
    wait_until("the base to be served again", lambda: fleet.chat("tiny", key=key).status_code == 200)
    assert served(fleet) == ALL


def test_after_a_restart_of_the_engine_everything_is_served_again_and_no_client_saw_a_404(fleet: Stack) -> None:
    statuses = []
    run(fleet.engine.stop())
    statuses.append(fleet.chat(NAMES[0]).status_code)
    run(fleet.engine.start())

    def again() -> bool:
        statuses.append(fleet.chat(NAMES[1]).status_code)
        return bool(statuses[-1] == 200)

    wait_until("an answer", again)
    fleet.wait_ready()
    fleet.wait_resident(*NAMES)
    assert served(fleet) == ALL
    assert set(statuses) == {200, 503}


def test_after_a_quick_restart_that_nobody_noticed_requests_are_served(fleet: Stack) -> None:
    run(fleet.engine.restart())

    def all_served() -> bool:
        answers = [fleet.chat(name) for name in NAMES]
        assert {answer.status_code for answer in answers} <= {200, 503}
        return all(answer.status_code == 200 for answer in answers)

    wait_until("all six to be served", all_served)
    fleet.wait_resident(*NAMES)


def test_a_killed_core_of_the_engine_takes_it_out_of_the_routes(fleet: Stack) -> None:
    fleet.faults(unhealthy=True)
    wait_until("the gateway to notice", lambda: not fleet.readiness()["ready"])
    assert "/health" in str(fleet.readiness()["engines"])
    assert fleet.chat(NAMES[0]).status_code == 503
    fleet.heal()
    assert served(fleet) == ALL


def test_a_cold_adapter_is_loaded_once_for_twenty_requests_at_once(filled: House) -> None:
    filled.publish("acme/cold")
    with run_stack(filled) as stack:
        stack.wait_resident(*NAMES)
        stack.faults(load_ms=200)
        before = stack.state()["loads"]
        with ThreadPoolExecutor(20) as callers:
            answers = list(callers.map(lambda _: stack.chat("acme/cold@1.0"), range(20)))
        assert [answer.status_code for answer in answers] == [200] * 20
        assert {answer.json()["model"] for answer in answers} == {"acme/cold@1.0"}
        assert stack.state()["loads"] == before + 1


def test_a_cold_adapter_that_takes_too_long_is_a_503_and_is_there_later(filled: House) -> None:
    filled.publish("acme/cold")
    with run_stack(filled, cold_wait_s=0.2) as stack:
        stack.wait_resident(*NAMES)
        stack.faults(load_ms=600)
        answer = stack.chat("acme/cold@1.0")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "adapter_loading")
        assert int(answer.headers["retry-after"]) > 0
        stack.faults(load_ms=10**6)  # it is on the engine by then: nobody loads it once more
        wait_until("who asks again to be answered", lambda: stack.chat("acme/cold@1.0").status_code == 200)
        assert model_of(stack, "acme/cold@1.0") == "acme/cold@1.0"


def test_with_two_engines_one_may_die_and_nobody_notices(filled: House) -> None:
    with run_stack(filled, engines=({}, {})) as stack:
        stack.wait_resident(*NAMES)
        assert served(stack) == ALL
        answered = [sum(stack.state_of(engine)["answered"].values()) for engine in stack.engines]
        run(stack.engines[answered.index(max(answered))].crash())
        assert served(stack) == ALL
        wait_until("the death to be noticed", lambda: len(stack.worker.view().engines) == 1)
        assert served(stack) == ALL
        assert stack.readiness()["ready"]
        assert len(stack.house.usage_of(stack.chat(NAMES[0]).headers["x-request-id"])) == 1


def test_a_request_that_had_to_try_two_engines_has_two_attempts_on_record(filled: House) -> None:
    with run_stack(filled, engines=({}, {}), engine_check_s=30.0) as stack:
        stack.wait_resident(*NAMES)
        for engine in stack.engines:
            run(engine.faults(fail_next=[503]))
        answers = [stack.chat(name) for name in NAMES]
        assert [answer.status_code for answer in answers].count(503) <= 1
        rows = wait_until(
            "both attempts of a request", lambda: [row for row in stack.house.usage() if row["attempt_id"][-2:] == "-1"]
        )
        attempts = stack.house.usage_of(str(rows[0]["request_id"]))
        assert attempts[0]["outcome"] == "engine_failed"
        assert len({row["engine"] for row in attempts}) == 2


def test_more_adapters_than_fit_are_all_served_by_unloading_the_one_not_used_longest(filled: House) -> None:
    with run_stack(filled, engines=({"max_cpu_loras": 5},), engine_max_cpu_loras=5) as stack:
        for _ in range(3):
            assert served(stack) == ALL
        state = stack.state()
        assert len(state["loaded"]) <= 4, "one place is kept free"
        assert state["unloads"] >= 9
        assert state["evictions"] == 0 or len(state["in_memory"]) <= 5
        resident = [name for name in NAMES[-3:] if model_of(stack, name)]
        loads = stack.state()["loads"]
        operators = stack.http.get(f"{stack.url}/admin/v1/engines", headers=stack.operator).json()
        told = operators["engines"][0]["loads"]
        assert told["evictions"] == state["unloads"], "each was to make room"
        assert (told["ok"], told["failed"]) == (told["evictions"] + 3, 0), "and three are there"
        traffic = stack.http.get(f"{stack.url}/admin/v1/traffic", headers=stack.operator).json()
        assert sum(traffic["evictions"]) <= told["evictions"], "the newest step is not told of yet"
        assert [model_of(stack, name) for name in resident] == ALL[-3:]
        assert stack.state()["loads"] == loads, "those used last are still there"


def test_nothing_in_use_is_unloaded_to_make_room(filled: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.fleet.loading.PLACE_TIMEOUT_S", 0.1)
    with run_stack(filled, engines=({"max_cpu_loras": 3},), engine_max_cpu_loras=3) as stack:
        assert model_of(stack, NAMES[0]) == ALL[0]
        stack.faults(token_ms=150)
        with ThreadPoolExecutor(1) as callers:
            long = callers.submit(lambda: stack.chat(NAMES[0], max_tokens=8, min_tokens=8))
            wait_until("the request to run", lambda: stack.state()["running"] == 1)
            answer = stack.chat(NAMES[1])
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_unavailable")
            assert long.result().status_code == 200
        stack.faults(token_ms=0)
        assert model_of(stack, NAMES[1]) == ALL[1]


def test_a_load_gets_the_place_of_the_first_adapter_that_falls_idle(
    filled: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.fleet.loading.PLACE_TIMEOUT_S", 30.0)
    with run_stack(filled, engines=({"max_cpu_loras": 3},), engine_max_cpu_loras=3) as stack:
        assert model_of(stack, NAMES[0]) == ALL[0]
        stack.faults(token_ms=50)
        with ThreadPoolExecutor(1) as callers:
            long = callers.submit(lambda: stack.chat(NAMES[0], max_tokens=8, min_tokens=8))
            wait_until("the request to run", lambda: stack.state()["running"] == 1)
            assert model_of(stack, NAMES[1]) == ALL[1]
            assert long.result().status_code == 200


def test_an_adapter_that_nothing_points_at_is_unloaded_after_a_while(filled: House) -> None:
    filled.publish("acme/cold")
    with run_stack(filled, retire_after_s=0.1) as stack:
        stack.wait_resident(*NAMES)
        assert model_of(stack, "acme/cold@1.0") == "acme/cold@1.0"
        wait_until("it to be unloaded", lambda: stack.state()["unloads"] == 1)
        assert served(stack) == ALL


def test_no_name_is_used_twice_on_a_boot_not_even_by_the_next_gateway(filled: House) -> None:
    def names(stack: Stack) -> list[str]:
        """Every loaded name but the zero adapters': each was probed, so the engine has counted a request for it."""
        return [name for name in stack.state()["requests"] if "-0000" not in name]

    with run_engines(filled, {"max_cpu_loras": 4}) as mocks:
        for gateways in (1, 2):
            with run_gateway(filled, mocks, engine_max_cpu_loras=4) as stack:
                for _ in range(2):
                    assert served(stack) == ALL
                wait_until("loads to end", lambda: not stack.controller.loading.tasks)
                loads = stack.state()["loads"]
                taken_over = 2 * (gateways - 1)
                assert loads >= gateways * 2 * len(NAMES) - taken_over, "there is room for two: a round loads all six"
                assert len(names(stack)) == loads - 1, "all but the zero adapter, which the next gateway took over"
