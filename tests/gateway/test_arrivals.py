"""What has just come to an engine makes no room, until somebody has used it or a moment has gone."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import cast

from gateway.fleet.arrivals import NEW_S, Arrivals
from gateway.fleet.hub import Hub

KEY, OTHER = ("http://e", 1), ("http://f", 2)


def arrivals() -> tuple[Arrivals, dict[tuple[str, int], float]]:
    used_s: dict[tuple[str, int], float] = {}
    return Arrivals(cast(Hub, SimpleNamespace(last_used_s=used_s))), used_s


def test_what_has_come_is_new_for_a_moment() -> None:
    new, used_s = arrivals()
    assert not new.is_new(KEY, time.monotonic())
    new.add(KEY)
    assert new.is_new(KEY, used_s[KEY])
    assert not new.is_new(KEY, used_s[KEY] + NEW_S)


def test_what_was_used_since_is_new_no_more() -> None:
    new, used_s = arrivals()
    new.add(KEY)
    now = used_s[KEY] + NEW_S / 2
    used_s[KEY] = now
    assert not new.is_new(KEY, now)


def test_what_is_being_proven_stays_however_long_that_takes_and_goes_when_it_fails() -> None:
    new, used_s = arrivals()
    new.add(KEY)
    new.begin_proof(KEY)
    assert new.is_new(KEY, used_s[KEY] + 3_600)
    new.remove(KEY)
    assert not new.is_new(KEY, used_s[KEY])


def test_an_engine_that_has_booted_has_nothing_new_and_others_keep_theirs() -> None:
    new, used_s = arrivals()
    new.add(KEY)
    new.add(OTHER)
    new.forget(KEY[0])
    assert not new.is_new(KEY, used_s[KEY])
    assert new.is_new(OTHER, used_s[OTHER])
