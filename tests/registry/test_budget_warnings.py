"""Warnings of budgets are noted once and taken up by one at a time, until somebody has them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from registry.days import DAY_MS
from registry.db import now_ms
from registry.limits.budget_warnings import KEPT_MS, BudgetWarningBooks, Crossing, Notice
from registry.service import Registry

LEASE_MS = 60_000


@pytest.fixture
def books(registry: Registry) -> BudgetWarningBooks:
    return BudgetWarningBooks(registry.db)


def notice(scope: str = "tenant:acme", *, budget: int = 1_000, ended_ms_ago: int = -LEASE_MS) -> Notice:
    at_ms = now_ms()
    return Notice(Crossing(scope, "daily_tokens", DAY_MS, budget, 80), at_ms - ended_ms_ago, 830, at_ms)


def test_of_many_that_see_a_crossing_at_once_one_notes_it(books: BudgetWarningBooks) -> None:
    with ThreadPoolExecutor(4) as pool:
        noted = list(pool.map(lambda _: books.note([notice()]), range(8)))
    assert sum(len(new) for new in noted) == 1
    assert len(books.current(["tenant:acme"])) == 1


def test_a_raised_budget_is_a_crossing_of_its_own(books: BudgetWarningBooks) -> None:
    first, raised = notice(), notice(budget=2_000)
    assert books.note([first, raised, first]) == [first, raised]


def test_of_many_that_want_to_deliver_at_once_one_does(books: BudgetWarningBooks) -> None:
    books.note([notice("tenant:acme"), notice("tenant:globex")])
    with ThreadPoolExecutor(4) as pool:
        taken = [one for some in pool.map(lambda _: books.take_up(10, LEASE_MS), range(8)) for one in some]
    assert sorted(one.crossing.scope for one in taken) == ["tenant:acme", "tenant:globex"]
    assert [one.attempts for one in taken] == [1, 1]


def test_what_is_delivered_is_not_due_and_what_failed_is_due_after_its_wait(books: BudgetWarningBooks) -> None:
    first, second, third = notice("tenant:a"), notice("tenant:b"), notice("tenant:c")
    books.note([first, second, third])
    assert len(books.take_up(10, LEASE_MS)) == 3
    books.settle([first.crossing], {second.crossing: 0, third.crossing: LEASE_MS})
    assert books.take_up(10, LEASE_MS) == [replace(second, attempts=2)]
    (told,) = books.current(["tenant:a"])
    assert told.delivered_at_ms is not None


def test_what_was_taken_up_by_one_that_died_is_due_again_when_its_lease_ends(books: BudgetWarningBooks) -> None:
    books.note([notice()])
    assert len(books.take_up(10, lease_ms=0)) == 1
    assert [one.attempts for one in books.take_up(10, LEASE_MS)] == [2]
    assert books.take_up(10, LEASE_MS) == []


def test_a_window_that_ended_long_ago_is_no_news(books: BudgetWarningBooks) -> None:
    books.note([notice("tenant:acme", ended_ms_ago=KEPT_MS + 1), notice("tenant:globex", ended_ms_ago=1_000)])
    assert [one.crossing.scope for one in books.take_up(10, LEASE_MS)] == ["tenant:globex"]
    assert books.current(["tenant:acme", "tenant:globex"]) == []
