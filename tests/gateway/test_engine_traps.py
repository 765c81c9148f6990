"""The six worst traps of a real engine, each laid for a gateway that goes on serving.

`tests/loadtest/test_mock_traps.py` shows by plain HTTP that the mock engine springs every one of them on whoever breaks
the rule. Here the same circumstances come about behind the gateway, and the rule holds. What the gateway may know or
do is not looked at: only clients' answers, the engine's counters, and what the registry tells an operator.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from loadtest.testing import MockEngine
from registry.errors import InvalidInput
from registry.names import parse_ref
from tests.support.stack import CHAT, MESSAGES, House, Stack, proof, run, run_stack
from tests.support.waiting import wait_until

NAMES = [f"acme/task-{number}" for number in range(6)]
LONG: dict[str, Any] = {"stream": True, "max_tokens": 50, "min_tokens": 50}


@pytest.fixture
def filled(house: House) -> House:
    """Six adapters of acme in production, and a key that may use the base."""
    for name in NAMES:
        house.publish(name)
        house.point(name, "1.0")
    house.keys["acme+base"] = house.key("acme", "inference", "base")
    return house


def text(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def texts(stack: Stack, names: list[str]) -> list[str]:
    """One answer of each, one after the other."""
    return [text(stack.chat(name)) for name in names]


def base_text(stack: Stack) -> str:
    return text(stack.chat("tiny", key="acme+base"))


def engine_name(stack: Stack, name: str) -> str:
    """What the first engine calls the production version of an adapter."""
    digest = stack.house.registry.adapters.get(parse_ref(name)).manifest_digest.removeprefix("sha256:")
    loaded: dict[str, str] = stack.state()["loaded"]
    return next(name for name, folder in loaded.items() if digest in folder)


def assert_whole(stream: Any) -> None:
    """The stream came to its proper end."""
    assert stream.status_code == 200
    assert '"error"' not in stream.text
    assert stream.text.endswith("data: [DONE]\n\n")


def test_a_version_loaded_again_while_a_stream_runs_on_it_has_a_new_name_and_harms_nobody(filled: House) -> None:
    one, two = NAMES[:2]
    with run_stack(filled, engines=({"max_loras": 2},)) as stack, ThreadPoolExecutor(3) as callers:
        stack.wait_resident(*NAMES)
        old_name = engine_name(stack, one)
        stack.faults(token_ms=30)
        old = callers.submit(stack.chat, one, **LONG)
        wait_until("the stream to run", lambda: stack.state()["running"] == 1)
        stack.faults(forget_adapter=old_name)  # the name goes, as with an unload; the stream goes on
        new = callers.submit(stack.chat, one, **LONG)
        wait_until("both streams to run", lambda: stack.state()["running"] == 2)
        stack.faults(forget_adapter=engine_name(stack, two))
        third = callers.submit(stack.chat, two)  # its load takes the slot of one of the two
        for stream in (old.result(), new.result()):
            assert_whole(stream)
        assert third.result().status_code == 200
        assert stack.state()["failed"] == 0
        assert engine_name(stack, one) != old_name


def test_an_adapter_that_an_engine_put_out_of_memory_is_still_on_disk_when_it_reads_it_again(filled: House) -> None:
    """The engine keeps fewer adapters than the gateway was told, so it puts out what the gateway holds resident."""
    with run_stack(filled, engines=({"max_loras": 2, "max_cpu_loras": 2},)) as stack:
        stack.wait_resident(*NAMES)
        first = texts(stack, NAMES)
        for _ in range(3):
            assert texts(stack, NAMES) == first
        state = stack.state()
        assert state["failed"] == 0
        assert state["disk_reads"] - state["loads"] >= 3 * len(NAMES), "nothing was read again"


def holders(stack: Stack, name: str) -> list[MockEngine]:
    """Engines that list this version."""
    digest = stack.house.registry.adapters.get(parse_ref(name)).manifest_digest.removeprefix("sha256:")
    return [
        engine
        for engine in stack.engines
        if any(digest in folder for folder in stack.state_of(engine)["loaded"].values())
    ]


def test_what_one_engine_has_given_up_stays_on_disk_for_another_that_serves_it(filled: House) -> None:
    moved = "acme/moved@1.0"
    filled.publish("acme/moved")
    small = {"max_loras": 1, "max_cpu_loras": 1}
    with run_stack(filled, engines=(small, small), retire_after_s=1.0) as stack:
        stack.wait_resident(*NAMES)
        answer = text(stack.chat(moved))
        (home,) = holders(stack, moved)
        run(home.faults(unhealthy=True))
        wait_until("the other engine to take over", lambda: text(stack.chat(moved)) and len(holders(stack, moved)) == 2)
        run(home.faults(unhealthy=False))
        stack.wait_ready()

        def only_home_left() -> bool:
            assert text(stack.chat(moved)) == answer
            return holders(stack, moved) == [home]

        wait_until("the other engine to give it up", only_home_left)
        assert texts(stack, NAMES * 2)
        assert text(stack.chat(moved)) == answer
        assert [stack.state_of(engine)["failed"] for engine in stack.engines] == [0, 0]


def test_copies_that_an_unload_leaves_behind_push_no_adapter_out_that_is_served(filled: House) -> None:
    """Room for 5: every round loads over the copies of the round before, and no live adapter is ever read twice."""
    with run_stack(filled, engines=({"max_loras": 2, "max_cpu_loras": 5},), engine_max_cpu_loras=5) as stack:
        rounds = [[(text(stack.chat(name)), base_text(stack)) for name in NAMES] for _ in range(5)]
        assert all(answers == rounds[0] for answers in rounds)
        state = stack.state()
        assert state["disk_reads"] == state["loads"], "an adapter in service was put out and read again"
        assert state["unloads"] > 20
        assert state["evictions"] > 20, "copies stay after an unload, and go only by eviction"
        assert len(state["loaded"]) < 5


def test_base_requests_among_adapters_are_answered_as_the_base_alone_answers(filled: House) -> None:
    with run_stack(filled, engines=({"max_loras": 3},)) as stack, ThreadPoolExecutor(1) as callers:
        stack.wait_resident(*NAMES)
        alone = base_text(stack)
        body = {"model": "base", "messages": MESSAGES, "max_tokens": 4}
        assert alone == text(stack.http.post(f"{stack.engine.url}{CHAT}", json=body))
        assert alone not in texts(stack, NAMES)
        stack.faults(token_ms=20)
        stream = callers.submit(stack.chat, NAMES[0], **LONG)
        wait_until("the adapter to run", lambda: stack.state()["running"] == 1)
        mixed = base_text(stack)
        assert stack.state()["running"] == 1, "the adapter ran all the while"
        assert_whole(stream.result())
        assert mixed == alone


def test_an_adapter_that_loads_without_effect_gets_no_traffic_and_its_status_says_why(filled: House) -> None:
    filled.publish("acme/proven", proof=proof())
    filled.point("acme/proven", "1.0")
    filled.publish("acme/proven", proof=proof(seed=2))
    with run_stack(filled) as stack:
        stack.wait_resident("acme/proven")
        good = text(stack.chat("acme/proven"))
        digest = filled.registry.adapters.get(parse_ref("acme/proven@1.1")).manifest_digest
        stack.faults(noop_folder=digest.removeprefix("sha256:"))
        refused = stack.chat("acme/proven@1.1")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_quarantined")
        assert "effect proof" in refused.json()["error"]["message"]
        stack.faults(noop_folder="")
        version = filled.registry.adapters.get(parse_ref("acme/proven@1.1"))
        assert "effect proof" in (version.quarantined or "")
        wait_until("the quarantine to be in force", lambda: stack.chat("acme/proven@1.1").status_code == 503)
        with pytest.raises(InvalidInput, match="effect proof"):
            filled.promote("acme/proven", "1.1")
        assert text(stack.chat("acme/proven")) == good


def test_an_engine_that_restarts_under_traffic_answers_nobody_with_404(filled: House) -> None:
    """Checks are a minute apart, so that requests meet the new boot, which knows no adapter, before they do."""
    with run_stack(filled, engine_check_s=60.0) as stack, ThreadPoolExecutor(len(NAMES)) as callers:
        stack.wait_resident(*NAMES)
        before = texts(stack, NAMES)
        for _ in range(2):
            run(stack.engine.restart())
            statuses = [answer.status_code for answer in callers.map(stack.chat, NAMES * 3)]
            assert set(statuses) <= {200, 503}
            wait_until("all to be served again", lambda: all(stack.chat(name).status_code == 200 for name in NAMES))
            assert texts(stack, NAMES) == before
        for name in [one for one in stack.state()["loaded"] if "-0000" not in one]:
            stack.faults(forget_adapter=name)  # as after a boot that nobody has noticed yet
        assert texts(stack, NAMES) == before
        assert stack.state()["unknown_model"] > 0, "the engine said 404, and no client heard of it"
