"""An engine that refuses what clients ask, while it loads adapters and answers probes: others serve, it is found out.

And the other way round: nobody's bad requests put a good engine out of service.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.fleet.trials import CONTRADICTIONS
from tests.gateway.test_bad_engine import come_back, fault_of, homes_of, quarantined
from tests.support.stack import BASE, House, Stack, proof, run, run_stack
from tests.support.waiting import wait_until

TENANTS = ("acme", "globex", "initech")
UMBRELLA = [{"role": "user", "content": "Where is my umbrella?"}]
"""What the engine of a test refuses, where it does not refuse all: no other request has that word."""
REFUSALS = [400, 401, 403, 404, 405, 413, 415, 422, 500]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done again after seconds is done again at once."""
    monkeypatch.setattr("gateway.engines.health.FIRST_EXAMINATION_S", 0.1)
    monkeypatch.setattr("gateway.engines.health.LAST_EXAMINATION_S", 0.1)
    monkeypatch.setattr("gateway.fleet.trials.TRIAL_EVERY_S", 0.05)
    monkeypatch.setattr("gateway.fleet.worker.DISPUTE_EVERY_S", 0.0)


@contextmanager
def serving(house: House, *engines: dict[str, Any]) -> Iterator[Stack]:
    """An adapter of each of three tenants, all at home on the first of two engines, or of as many as are given."""
    house.tenant("initech")
    with run_stack(house, engines=engines or ({}, {})) as stack:
        for number, tenant in enumerate(TENANTS):
            candidates = (f"{tenant}/task-{attempt}" for attempt in range(64))
            name = next(name for name in candidates if homes_of(stack, f"{name}@1.0")[0] is stack.engine)
            house.publish(name, proof=proof(seed=number))
            house.point(name, "1.0")
        stack.wait_revision()
        stack.wait_resident(*names_of(stack))
        yield stack


def names_of(stack: Stack) -> list[str]:
    """The adapters' versions, by tenant."""
    return sorted(version.name for version in stack.house.registry.catalog().versions_by_id.values())


def answer_of(stack: Stack, name: str, **body: Any) -> tuple[int, str]:
    answer = stack.chat(name, name.partition("/")[0], **body)
    return answer.status_code, answer.json().get("model") or answer.json()["error"]["code"]


def served(stack: Stack) -> bool:
    """Whether every tenant is served."""
    return all(answer_of(stack, name) == (200, name) for name in names_of(stack))


def state_of(stack: Stack) -> str:
    """Of the first engine, as the worker knows it."""
    return stack.worker.states()[stack.engine.url][0]


@pytest.mark.parametrize("status", REFUSALS)
def test_what_one_engine_refuses_another_serves_and_the_engine_is_refused_until_it_answers(
    house: House, status: int
) -> None:
    with serving(house) as stack:
        run(stack.engine.faults(refuse_requests=status))
        assert served(stack)
        stack.wait_state(stack.engine, "refused")
        assert f"it answers HTTP {status} to a" in fault_of(stack, stack.engine)
        assert served(stack)
        assert quarantined(house) == []
        run(stack.engine.faults(refuse_requests=0))
        stack.wait_ready()


def test_an_engine_that_returns_and_refuses_every_request_gets_none(house: House) -> None:
    with serving(house) as stack:
        come_back(stack.engine, refuse_requests=400)
        stack.wait_state(stack.engine, "refused")
        assert served(stack)
        assert house.usage(outcome="rejected") == []
        assert quarantined(house) == []


def test_the_only_engine_of_a_fleet_that_refuses_every_request_is_refused_until_it_answers(house: House) -> None:
    with serving(house, {}) as stack:
        name = names_of(stack)[0]
        run(stack.engine.faults(refuse_requests=400))
        assert answer_of(stack, name) == (400, "engine_refused")
        stack.wait_state(stack.engine, "refused")
        assert answer_of(stack, name) == (503, "engine_unavailable")
        run(stack.engine.faults(refuse_requests=0))
        stack.wait_ready()
        wait_until("an answer", lambda: answer_of(stack, name) == (200, name))


def test_an_engine_that_answers_us_and_refuses_what_others_serve_to_several_tenants_is_refused(house: House) -> None:
    with serving(house) as stack:
        run(stack.engine.faults(refuse_requests=400, refuse_requests_with="umbrella"))

        def found_out() -> bool:
            assert {answer_of(stack, name, messages=UMBRELLA)[0] for name in names_of(stack)} == {200}
            return state_of(stack) == "refused"

        wait_until("the engine to be refused", found_out)
        assert "3 tenants that other engines served, and served none" in fault_of(stack, stack.engine)


@pytest.mark.parametrize("stream", [False, True])
def test_one_tenants_odd_bodies_put_no_engine_out_of_service_or_last_in_line(house: House, stream: bool) -> None:
    with serving(house) as stack:
        run(stack.engine.faults(refuse_requests=400, refuse_requests_with="umbrella"))
        for _ in range(4 * CONTRADICTIONS):
            answer = stack.chat(names_of(stack)[0], messages=UMBRELLA, stream=stream)
            assert answer.status_code == 200
            assert list(stack.worker.breaker.avoided(0.0)) == []
        assert state_of(stack) == "up"


def test_three_tenants_odd_bodies_do_not_either_while_the_engine_serves_somebody(house: House) -> None:
    with serving(house) as stack:
        run(stack.engine.faults(refuse_requests=400, refuse_requests_with="umbrella"))
        for _ in range(CONTRADICTIONS):
            for name in names_of(stack):
                assert answer_of(stack, name, messages=UMBRELLA)[0] == 200
                assert answer_of(stack, name) == (200, name)
            assert state_of(stack) == "up"


def test_bodies_that_every_engine_refuses_get_their_400_and_double_nobodys_load(house: House) -> None:
    with serving(house) as stack:
        first, second, _ = names_of(stack)
        stack.faults(refuse_requests=400, refuse_requests_with="umbrella")
        assert {answer_of(stack, first, messages=UMBRELLA) for _ in range(60)} == {(400, "engine_refused")}
        wait_until("the rows", lambda: len(house.usage(tenant="acme")) > 60)
        rows = house.usage(tenant="acme")
        assert 60 < len(rows) <= 60 + 16
        assert {row["outcome"] for row in rows} == {"rejected"}
        assert {state for state, _, _ in stack.worker.states().values()} == {"up"}
        run(stack.engines[1].faults(refuse_requests_with="nothing"))
        assert answer_of(stack, second, messages=UMBRELLA) == (200, second), "what one used up is not another's"


def test_an_engines_refusal_of_our_key_reaches_no_client(house: House) -> None:
    with serving(house, {}) as stack:
        for status in (401, 403):
            run(stack.engine.faults(refuse_requests=status))
            answer = stack.chat(names_of(stack)[0])
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_unavailable")
            assert "Injected" not in answer.text


def test_a_base_without_a_chat_template_serves_completions_whoever_sends_it_chats(house: House) -> None:
    house.keys["acme"] = house.key("acme", "inference", "base")
    with serving(house, {"chat_template": "none"}, {"chat_template": "none"}) as stack:
        for _ in range(4):
            assert answer_of(stack, names_of(stack)[0])[0] == 400
        said = stack.post("/v1/completions", {"model": BASE, "prompt": "a", "max_tokens": 2})
        assert said.status_code == 200
        assert {state for state, _, _ in stack.worker.states().values()} == {"up"}


def test_an_engine_that_lost_its_chat_template_is_refused_because_another_has_it(house: House) -> None:
    with serving(house) as stack:
        come_back(stack.engine, chat_template="none")
        stack.wait_state(stack.engine, "refused")
        assert "to a chat request of ours" in fault_of(stack, stack.engine)
        assert served(stack)
