"""An engine that says nothing of what it runs at once gets what it turns out to run."""

from __future__ import annotations

from gateway.engines.look import Look
from gateway.fleet.capacity import CALM, Capacity, fitted


def look(running: int, waiting: int, boot: float = 1.0) -> Look:
    return Look(boot, running, waiting, 0.5, 1, None, 0, 0, 0, 0, 0)


def asked_for(wanted: int, runs: int, *, looks: int, most: int = 1024) -> list[int]:
    """What an engine gets, look by look, that can run so many at once."""
    capacity, found = Capacity(1024, most), list[int]()
    for _ in range(looks):
        there = min(wanted, capacity.most)
        found.append(capacity.take(look(min(there, runs), max(0, there - runs))))
    return found


def test_what_waits_in_an_engine_is_soon_hardly_any_and_it_never_idles() -> None:
    found = asked_for(600, 64, looks=12)
    assert found[-1] <= 64 + 10
    assert min(found) >= 64, "it always has what it can run"


def test_after_two_looks_at_a_full_engine_it_gets_what_it_runs_and_one_more() -> None:
    assert asked_for(600, 64, looks=12)[1:] == [65] * 11


def test_an_engine_that_only_begins_to_run_what_came_is_not_taken_for_full() -> None:
    capacity = Capacity(1024, 1024)
    found = [capacity.take(look(running, 100 - running)) for running in (4, 20, 50, 90, 100)]
    assert min(found) >= 52


def test_an_engine_that_runs_more_gets_more_when_it_is_wanted() -> None:
    assert asked_for(600, 256, looks=40, most=16)[-1] >= 256
    assert asked_for(8, 256, looks=40, most=16) == [16] * 40, "and nothing is forgotten while it idles"


def test_it_never_gets_more_than_it_was_started_for_or_nothing() -> None:
    assert fitted(16, 16, 16, 0) == 16
    assert fitted(4, 16, 0, 2) == 1
    assert fitted(16, 16, 15, 1) == 16, "one that waits may just have come"


def test_on_a_new_boot_it_is_found_out_anew_and_a_look_counts_once() -> None:
    capacity = Capacity(1024, 1024)
    first = look(8, 92)
    assert capacity.take(first) == 54
    assert capacity.take(first) == 54
    assert capacity.take(None) == 54
    assert capacity.take(look(0, 0, boot=2.0)) == 1024


def test_an_engine_of_which_nobody_says_anything_begins_with_few_and_has_twice_as_many_until_some_wait_in_it() -> None:
    assert asked_for(600, 512, looks=6, most=32) == [64, 128, 256, 512, 1024, 556]
    assert asked_for(600, 40, looks=6, most=32) == [64, 52, 41, 41, 41, 41], (
        "of a flood 24 have waited in it, for a look"
    )
    assert asked_for(20, 512, looks=6, most=32) == [32] * 6


def test_what_was_found_out_of_an_engine_is_forgotten_with_its_boot_and_it_begins_with_few_again() -> None:
    capacity = Capacity(1024, 32)
    assert [capacity.take(look(32, 0)), capacity.take(look(40, 24)), capacity.take(look(52, 0))] == [64, 52, 59]
    assert [capacity.take(look(0, 0, boot=2.0)), capacity.take(look(32, 0, boot=2.0))] == [32, 64]


def test_an_engine_whose_free_seats_are_kept_is_tried_with_more_only_long_after_some_waited_in_it() -> None:
    capacity = Capacity(1024, 40, kept_share=0.125)
    capacity.tried = True
    assert capacity.take(look(35, 0)) == 46, "it has what others than those for whom it is kept may have"
    assert capacity.take(look(32, 9)) == 37
    assert capacity.take(look(32, 5)) == 33
    assert [capacity.take(look(29, 0)) for _ in range(CALM - 1)] == [33] * (CALM - 1)
    assert capacity.take(look(29, 0)) == 38
    assert capacity.take(look(32, 2)) == 33
    assert capacity.take(look(33, 0)) == 38, "it has all that it may, and none waits"


def test_what_runs_in_an_engine_at_the_first_look_is_not_taken_from_it() -> None:
    """A new leader finds it as busy as the one before has left it."""
    capacity = Capacity(1024, 32)
    assert [capacity.take(look(500, 2)), capacity.take(look(500, 0))] == [500, 563]
    assert Capacity(256, 32).take(look(500, 2)) == 256
