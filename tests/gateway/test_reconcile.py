"""The ledger against engines' counters: what explains a difference, up to where, and what nothing explains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.admin_key import admin_key
from gateway.cost.reconcile import MAX_SEQUENCE_TOKENS, Tokens, balance, reconcile
from registry.ledger.engine_readings import Booked, Reading
from registry.names import SYSTEM
from registry.service import Registry
from tests.support.admin_calls import Admin
from tests.support.cli_runner import Run, run
from tests.support.dashboard_parts import dashboard_of, seen
from tests.support.stack import House, run_stack
from tests.support.usage_rows import usage_row

__all__ = ["run"]
ENGINE = "http://127.0.0.1:8001"
FIRST = Reading(ENGINE, 500, 900, 1_000, steps=10, prompt_tokens=100, generation_tokens=50)


def last(prompt: int, completion: int, *, steps: int = 20) -> Reading:
    """A reading after so many more tokens and steps."""
    return Reading(ENGINE, 500, 5_000, 5_100, 10 + steps, 100 + prompt, 50 + completion)


def booked(prompt: int, completion: int, source: str | None = "engine", **changes: Any) -> Booked:
    """One attempt, with one answer, between the readings."""
    return replace(Booked(False, source, False, True, 1, 1, prompt, 0, completion), **changes)


def test_what_is_booked_with_the_engines_count_is_all_that_it_counted() -> None:
    found = balance(FIRST, last(17, 8), [booked(10, 5), booked(7, 3, system=True)])
    assert (found.counted, found.tenants, found.system) == (Tokens(17, 8), Tokens(10, 5), Tokens(7, 3))
    assert found.unexplained == found.abort_overrun == found.in_flight == Tokens()


def test_a_prompt_is_read_again_for_each_further_answer() -> None:
    found = balance(FIRST, last(30, 15), [booked(10, 15, answers=3, reread_tokens=20)])
    assert (found.reread, found.unexplained) == (Tokens(20), Tokens())


def test_an_aborted_stream_explains_no_more_than_a_token_a_step() -> None:
    found = balance(FIRST, last(10, 12, steps=7), [booked(10, 5, "partial")])
    assert (found.abort_overrun, found.broken_off, found.unexplained) == (Tokens(0, 7), 1, Tokens())
    found = balance(FIRST, last(11, 13, steps=7), [booked(10, 5, "partial")])
    assert (found.abort_overrun, found.unexplained) == (Tokens(0, 7), Tokens(1, 1))


def test_an_aborted_answer_that_was_not_streamed_explains_its_prompt_or_none_of_it() -> None:
    """Its booked prompt is a guess, so the engine's count is the truth; it may have been aborted in the queue."""
    guessed = booked(25, 0, "estimated")
    assert balance(FIRST, last(0, 0), [guessed]).unexplained == Tokens()
    assert balance(FIRST, last(356, 20), [guessed]).abort_overrun == Tokens(356, 20)
    assert balance(FIRST, last(357, 20), [guessed]).unexplained == Tokens(1, 0)


def test_an_attempt_across_a_reading_may_be_in_it_in_part() -> None:
    across = booked(10, 5, inside=False)
    for prompt, completion in ((0, 0), (10, 0), (10, 5)):
        found = balance(FIRST, last(prompt, completion), [across])
        assert (found.in_flight, found.unexplained) == (Tokens(prompt, completion), Tokens())
    assert balance(FIRST, last(10, 6), [across]).unexplained == Tokens(0, 1)


def test_what_a_dead_process_did_not_record_may_have_cost_anything_that_one_request_can() -> None:
    found = balance(FIRST, last(1_000, 20), [booked(0, 0, None, lost=True)])
    assert (found.lost, found.unrecorded, found.unexplained) == (Tokens(1_000, 20), 1, Tokens())
    beyond = last(MAX_SEQUENCE_TOKENS + 3, 0)
    assert balance(FIRST, beyond, [booked(0, 0, None, lost=True)]).unexplained == Tokens(3, 0)


def test_refused_and_unsent_attempts_explain_nothing() -> None:
    assert balance(FIRST, last(4, 0), [booked(0, 0, None)]).unexplained == Tokens(4, 0)


def test_a_ledger_with_more_than_the_engine_is_a_negative_difference() -> None:
    assert balance(FIRST, last(9, 5), [booked(10, 5)]).unexplained == Tokens(-1, 0)


def test_rows_count_for_the_boot_engine_and_time_that_they_are_of(registry: Registry) -> None:
    registry.readings.add([FIRST, last(27, 15), replace(last(20, 11), asked_ms=3_000, answered_ms=3_001), FIRST])
    registry.readings.add([replace(FIRST, boot_ms=700), replace(FIRST, engine="http://other")])
    registry.ledger.record(
        [
            usage_row("before", started_at_ms=100, finished_at_ms=200),
            usage_row("inside", usage_source="engine", n=2, started_at_ms=1_000, finished_at_ms=2_000),
            usage_row("across", usage_source="engine", started_at_ms=4_000, finished_at_ms=5_050),
            usage_row("elsewhere", usage_source="engine", engine="http://other", started_at_ms=2_000),
            usage_row("probe", usage_source="engine", tenant=SYSTEM, prompt_tokens=5, completion_tokens=6,
                      started_at_ms=2_000, finished_at_ms=2_001),
            usage_row("after", usage_source="engine", started_at_ms=6_000, finished_at_ms=6_100),
        ]
    )  # fmt: skip
    (found,) = reconcile(registry.readings, 0, 10_000)
    assert (found.engine, found.boot_ms, found.since_ms, found.until_ms) == (ENGINE, 500, 1_000, 5_000)
    assert (found.tenants, found.reread, found.system) == (Tokens(10, 5), Tokens(10), Tokens(5, 6))
    assert (found.in_flight, found.overlapping, found.unexplained) == (Tokens(2, 4), 1, Tokens())
    assert reconcile(registry.readings, 0, 5_000)[0].until_ms == 3_000, "up to a reading within the window"


def test_the_command_says_where_tokens_went_and_fails_when_some_are_left(run: Run) -> None:
    assert "no engine was read twice" in run("ledger", "reconcile").out
    with Registry.open() as registry:
        registry.readings.add([FIRST, last(10, 5)])
        registry.ledger.record([usage_row("a", usage_source="engine", started_at_ms=2_000, finished_at_ms=2_100)])
    balanced = run("ledger", "reconcile", "--json")
    assert (balanced.status, balanced.document[0]["unexplained"]) == (0, {"prompt": 0, "completion": 0})
    with Registry.open() as registry:
        registry.readings.add([replace(last(10, 9), asked_ms=6_000, answered_ms=6_001)])
    table = run("ledger", "reconcile")
    assert table.status == 1
    assert [line.split() for line in table.out.splitlines() if "UNEXPLAINED" in line] == [
        ["UNEXPLAINED", "0", "4", "–"]
    ]


@pytest.fixture
def registry(house: House) -> Registry:
    return house.registry


def test_the_admin_api_says_where_tokens_went_and_what_nothing_explains(house: House) -> None:
    house.registry.readings.add([FIRST, last(10, 5), replace(FIRST, engine="http://other"), other_last()])
    house.registry.ledger.record([usage_row("a", usage_source="engine", started_at_ms=2_000, finished_at_ms=2_100)])
    with run_stack(house) as stack:
        admin = Admin(house, stack.url, stack.http)
        found = admin.get("/reconciliation", **{"from": "1970-01-01", "until": "1970-01-02"})
        assert (found["since_ms"], found["until_ms"]) == (0, 86_400_000)
        of_one, of_other = found["balances"]
        assert (of_one["engine"], of_one["attempts"], of_one["tenants"]) == (ENGINE, 1, {"prompt": 10, "completion": 5})
        assert of_one["unexplained"] == {"prompt": 0, "completion": 0}
        assert of_other["unexplained"] == found["unexplained"] == {"prompt": 3, "completion": 4}
        status, error = admin.refused("GET", "/reconciliation", params={"from": "1970-01-02", "until": "1970-01-02"})
        assert (status, error["param"]) == (400, "until")
        with dashboard_of(stack.url) as visitor:
            visitor.log_in(admin_key(house.settings))
            assert "Engines' counts against the ledger" in seen(visitor.page("/cost/outlook/~live"))


def other_last() -> Reading:
    """Another engine's second reading."""
    return replace(last(3, 4), engine="http://other")
