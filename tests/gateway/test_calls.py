"""How much is done for a request, counted in calls of functions: what a step adds to all requests is seen here.

Whoever needs more raises the number, and says in the commit what a request pays for it. Where time goes:
`python -m tests.steps_cost`; against another commit: `python -m tests.against`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count

import pytest

from gateway.fleet import slot_needs
from registry.experiments.plan import Plan
from registry.names import parse_ref
from tests.support.calls import Calls, added_calls, fewest_calls
from tests.support.fixtures import usual_stack
from tests.support.stack import Stack

MOST_OF_A_CHAT, MOST_OF_A_STORED_RESPONSE, MOST_OF_AN_EVENT = 320, 360, 14
MOST_OF_AN_EXPERIMENT, MOST_OF_A_KEPT_ANSWER = 2, 9
"""What finds the unit; and with what keeps an answer that is looked at, as of few requests in a second every one is."""
TOKENS = 40


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The usual stack, in which nobody has left anything. No slot is kept: proofs that ran side by side when it began
    would have some kept for as many seconds as it takes, and meanwhile a slot is more to decide on.
    """
    with pytest.MonkeyPatch.context() as patch:
        for seconds in ("KEPT_S", "QUIET_S"):
            patch.setattr(slot_needs, seconds, 0.0)
        with usual_stack(tmp_path_factory.mktemp("calls")) as stack:
            yield stack


def test_a_plain_chat_is_so_many_calls(stack: Stack) -> None:
    calls = fewest_calls(stack, lambda: stack.chat("acme/triage").raise_for_status())
    assert calls.total() <= MOST_OF_A_CHAT, _shown(calls)


def test_a_stored_response_is_so_many_calls(stack: Stack) -> None:
    body = {"model": "acme/triage", "input": "My parcel is late.", "max_output_tokens": 4}
    calls = fewest_calls(stack, lambda: stack.post("/v1/responses", body).raise_for_status())
    assert calls.total() <= MOST_OF_A_STORED_RESPONSE, _shown(calls)


def test_an_event_of_a_stream_is_so_many_calls(stack: Stack) -> None:
    stack.faults(token_ms=2)  # so that they come one by one
    whole = fewest_calls(
        stack, lambda: stack.chat("acme/triage", stream=True, max_tokens=TOKENS, ignore_eos=True).raise_for_status()
    )
    of_events = {where: count for where, count in whole.items() if count >= TOKENS - 5}
    assert sum(of_events.values()) <= MOST_OF_AN_EVENT * (TOKENS + 2), _shown(whole)


@pytest.mark.parametrize(("kept_a_second", "most"), [(1, MOST_OF_AN_EXPERIMENT), (1_000, MOST_OF_A_KEPT_ANSWER)])
def test_an_experiment_adds_so_few_calls_to_a_chat(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, kept_a_second: int, most: int
) -> None:
    monkeypatch.setattr("gateway.scoring.scorer.MOST_A_SECOND", kept_a_second)
    house, name, numbers = stack.house, f"acme/tried-{kept_a_second}", count()
    for _ in range(2):
        house.publish(name)
    house.promote(name, "1.0")
    plan = {"treatments": ["1.1"], "ramp": [{"percent": 50}], "audience": {"percent": 99}, "holdout_percent": 1}
    made = house.registry.experiments.create(parse_ref(name), Plan.of(plan), actor="test")
    assert made.swap_id is not None
    assert house.finished(made.swap_id).state == "done"
    stack.wait_revision()

    def ask(model: str) -> None:
        messages = [{"role": "user", "content": f"Order {next(numbers)} is late."}]
        stack.chat(model, messages=messages).raise_for_status()

    added = added_calls(stack, partial(ask, f"{name}@1.0"), partial(ask, name))
    assert added.total() <= most, _shown(added)


def _shown(calls: Calls) -> str:
    lines = [f"{count:4} {where}" for where, count in sorted(calls.items())]
    return "\n".join([f"{calls.total()} calls", *lines])
