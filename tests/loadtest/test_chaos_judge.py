"""The judge of a chaos run finds what it is there to find, and excuses only what the bar excuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from loadtest.chaos import Current, Fault, Move, Return, excused, recoveries, report, wrong
from loadtest.records import Attempt, Record

OLD, NEW, OTHER = "acme/a@1.0", "acme/a@1.1", "globex/b@1.0"
SAID = {name: {"chat 0": f" {name} two three four"} for name in (OLD, NEW, OTHER)}
MOVES = [Move("acme/a", OLD, NEW, flipped=100.0, settled=100.5)]
CURRENT = Current({"acme/a": OLD}, MOVES)
KILL = Fault("kill", "http://e1", 50.0, 50.01)


def record(started: float, ended: float, answered_by: str | None = OLD, **changes: Any) -> Record:
    """A right whole answer to a question to acme/a, unless told otherwise."""
    attempt = Attempt(started, started, ended, 200, "r1", None)
    models, text = ((answered_by,), f" {answered_by} two") if answered_by else ((), "")
    whole = Record("acme", "acme/a", False, True, False, 0, 2, (attempt,), models, text)
    return replace(whole, **changes)


def failed(started: float, ended: float, first_byte: float | None = None, **changes: Any) -> Record:
    """A stream that failed by a proper error event."""
    proper = first_byte is not None
    attempt = Attempt(started, first_byte, ended, 200 if proper else 502, "r1", "broken", proper_error=proper)
    return record(started, ended, None, attempts=(attempt,), stream=True, **changes)


@pytest.mark.parametrize(
    ("started", "ended", "model", "right"),
    [
        (98.0, 99.0, OLD, True),
        (98.0, 99.9, NEW, False),  # nobody had moved it yet
        (98.0, 100.1, NEW, True),
        (100.2, 100.3, OLD, True),  # not every worker had acknowledged
        (100.2, 100.3, NEW, True),
        (100.6, 100.7, OLD, False),
        (100.6, 100.7, NEW, True),
        (98.0, 99.0, OTHER, False),
    ],
)
def test_an_alias_may_answer_with_what_was_current_meanwhile(
    started: float, ended: float, model: str, right: bool
) -> None:
    assert (wrong(record(started, ended, model), CURRENT, SAID) is None) == right


def test_a_pinned_version_answers_with_itself_alone() -> None:
    assert wrong(record(98, 99, NEW, model=NEW), CURRENT, SAID) is None
    assert wrong(record(98, 99, OLD, model=NEW), CURRENT, SAID) is not None


def test_weights_of_another_version_under_the_right_name_are_wrong() -> None:
    assert wrong(record(98, 99, OLD, text=f" {OTHER} two"), CURRENT, SAID) is not None
    assert wrong(record(98, 99, OLD, text=f" {OLD}"), CURRENT, SAID) is not None, "a whole answer has all its words"
    assert wrong(failed(98, 99, 98.5, models=(OLD,), text=f" {OLD}"), CURRENT, SAID) is None, "a broken one may not"
    assert wrong(failed(98, 99, 98.5, models=(OLD,), text=f" {OTHER}"), CURRENT, SAID) is not None


def test_a_tenant_who_is_served_anothers_adapter_is_wrong() -> None:
    refused = record(1, 2, None, forbidden=True, attempts=(Attempt(1, 1, 2, 404, "r1", "HTTP 404"),))
    assert (wrong(refused, CURRENT, SAID), refused.failure) == (None, None)
    assert wrong(record(1, 2, OTHER, forbidden=True), CURRENT, SAID) is not None


def test_only_streams_that_ran_on_the_engine_in_that_moment_are_excused() -> None:
    def is_excused(request: Record, engine: str | None = "http://e1", kind: str = "kill") -> bool:
        return excused(request, [replace(KILL, kind=kind)], lambda _: engine)

    running = failed(49, 50.2, first_byte=49.5)
    assert is_excused(running)
    assert is_excused(running, kind="hang")
    assert not is_excused(running, kind="slow loads")
    assert not is_excused(running, engine="http://e2")
    assert not is_excused(running, engine=None)
    assert not is_excused(replace(running, stream=False))
    assert not is_excused(failed(49, 50.2)), "it had not begun"
    assert not is_excused(failed(50.5, 51, first_byte=50.6)), "it began on a dead engine"
    assert not is_excused(failed(48, 49, first_byte=48.5)), "it ended before"
    rough = replace(running, attempts=(replace(running.last, proper_error=False),))
    assert not is_excused(rough), "it was not told"


def test_recovery_is_the_last_unserved_start_of_the_faults_episode() -> None:
    faults = [KILL, replace(KILL, began=60.0, done=60.0)]
    assert recoveries(faults, []) == [0.0, 0.0]
    assert recoveries(faults, [50.5, 51.25, 60.5]) == [1.25, 0.5]
    through = [50.5 + 0.9 * n for n in range(12)]
    assert recoveries(faults, through) == [pytest.approx(10.4), 0.0], (
        "an episode that outlives the next fault is the first's"
    )
    assert recoveries(faults, [3.0]) == [0.0, 0.0], "before any fault"


def test_an_engine_that_is_never_used_again_took_until_the_end() -> None:
    assert Return("http://e1", 10.0, 12.5).recovery_s(99.0) == 2.5
    assert Return("http://e1", 10.0, None).recovery_s(99.0) == 89.0


def test_moves_that_do_not_follow_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="was current"):
        Current({"acme/a": NEW}, MOVES)


def test_the_report_has_the_fixed_fields_and_counts_each_thing_once() -> None:
    refusal = Attempt(52.0, 52.0, 52.1, 503, "r2", "HTTP 503", retry_after_s=1.0)
    served_later = record(52.0, 54.0, attempts=(refusal, Attempt(53.1, 53.2, 54.0, 200, "r3", None)))
    missing = record(55, 56, None, attempts=(Attempt(55, 55, 56, 404, "r4", "HTTP 404: no such model"),))
    records = [record(40, 41), failed(49, 50.2, 49.5), failed(50.3, 50.4), served_later, missing, record(98, 99, OTHER)]
    document = report(records, [KILL], [Return("http://e1", 51, 51.5)], CURRENT, SAID, lambda _: "http://e1")
    detail: Any = document.pop("detail")
    assert document == {
        "wrong_answers": 1,
        "client_404": 1,
        "excess_failures": 2,
        "max_recovery_s": 5.0,  # the 404 at 55
        "requests": 6,
    }
    assert (detail["broken_streams_excused"], detail["retried"], detail["raw_statuses"]["503"]) == (1, 1, 1)
