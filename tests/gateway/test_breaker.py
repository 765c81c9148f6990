"""A worker's memory of engines that fail it: opens after three in a row, tries again, forgets with one success."""

from __future__ import annotations

from gateway.fleet.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker

URL, OTHER = "http://a", "http://b"


def failed(times: int, now_s: float = 100.0) -> Breaker:
    breaker = Breaker()
    for _ in range(times):
        breaker.failed(URL, now_s)
    return breaker


def test_two_failures_are_bad_luck_and_three_are_a_pattern() -> None:
    assert list(failed(2).avoided(100.0)) == []
    assert list(failed(3).avoided(100.0)) == [URL]


def test_an_engine_is_tried_again_after_the_pause() -> None:
    breaker = failed(3)
    assert list(breaker.avoided(100.0 + FIRST_PAUSE_S - 0.01)) == [URL]
    assert list(breaker.avoided(100.0 + FIRST_PAUSE_S)) == []


def test_every_further_failure_doubles_the_pause_up_to_the_longest() -> None:
    breaker, now_s, pause_s = failed(3), 100.0, FIRST_PAUSE_S
    for _ in range(10):
        now_s += pause_s
        breaker.failed(URL, now_s)
        pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
        assert list(breaker.avoided(now_s + pause_s - 0.01)) == [URL]
        assert list(breaker.avoided(now_s + pause_s)) == []
    assert pause_s == LONGEST_PAUSE_S


def test_failures_that_had_begun_before_a_pause_do_not_lengthen_it() -> None:
    breaker = failed(30)
    assert list(breaker.avoided(100.0 + FIRST_PAUSE_S - 0.01)) == [URL]
    assert list(breaker.avoided(100.0 + FIRST_PAUSE_S)) == []


def test_a_success_forgets_all() -> None:
    breaker = failed(10)
    breaker.forget(URL)
    assert list(breaker.avoided(100.0)) == []
    breaker.failed(URL, 100.0)
    assert list(breaker.avoided(100.0)) == [], "it takes three again"


def test_failures_with_a_success_between_them_do_not_add_up() -> None:
    breaker = Breaker()
    for _ in range(10):
        breaker.failed(URL, 100.0)
        breaker.failed(URL, 100.0)
        breaker.forget(URL)
    assert list(breaker.avoided(100.0)) == []


def test_one_engines_failures_are_not_anothers() -> None:
    breaker = failed(3)
    breaker.failed(OTHER, 100.0)
    assert list(breaker.avoided(100.0)) == [URL]
    breaker.forget(OTHER)
    assert list(breaker.avoided(100.0)) == [URL]
