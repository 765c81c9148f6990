"""Warnings of budgets are noted once, and told to the operator's webhook."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest

from registry.days import DAY_MS
from registry.db import now_ms
from registry.limits.budget_warnings import KEPT_MS, BudgetWarningBooks, Crossing, Notice
from registry.names import SYSTEM
from registry.service import Registry
from tests.support.outbox import undelivered

LEASE_MS = 60_000


@pytest.fixture
def books(registry: Registry) -> BudgetWarningBooks:
    return BudgetWarningBooks(registry.db)


def notice(scope: str = "tenant:acme", *, budget: int = 1_000, ended_ms_ago: int = -LEASE_MS) -> Notice:
    at_ms = now_ms()
    return Notice(Crossing(scope, "daily_tokens", DAY_MS, budget, 80), at_ms - ended_ms_ago, 830, at_ms)


def test_of_many_that_see_a_crossing_at_once_one_notes_it(books: BudgetWarningBooks) -> None:
    with ThreadPoolExecutor(4) as pool:
        noted = list(pool.map(lambda _: books.note([notice()], tells=True), range(8)))
    assert sum(len(new) for new in noted) == 1
    assert len(books.current(["tenant:acme"])) == 1


def test_a_raised_budget_is_a_crossing_of_its_own(books: BudgetWarningBooks) -> None:
    first, raised = notice(), notice(budget=2_000)
    assert books.note([first, raised, first], tells=True) == [first, raised]


def test_a_warning_is_for_the_operators_webhook_alone_and_once(books: BudgetWarningBooks, registry: Registry) -> None:
    registry.webhooks.create("acme", "theirs", "https://hooks.example.com")
    books.note([notice()], tells=True)
    books.note([notice(), notice("tenant:globex")], tells=True)
    taken = registry.outbox.take_up(10, LEASE_MS, most_of_one=10, busy={})
    assert [orjson.loads(one.body)["data"]["scope"] for one in taken] == ["tenant:acme", "tenant:globex"]
    assert {(one.endpoint_id, one.url, one.tenant) for one in taken} == {(None, None, SYSTEM)}


def test_without_a_webhook_nothing_waits_to_be_told(books: BudgetWarningBooks, registry: Registry) -> None:
    books.note([notice()], tells=False)
    assert undelivered(registry.outbox) == 0


def test_a_window_that_ended_long_ago_is_no_news(books: BudgetWarningBooks, registry: Registry) -> None:
    books.note([notice(ended_ms_ago=KEPT_MS + 1), notice("tenant:globex", ended_ms_ago=1_000)], tells=True)
    taken = registry.outbox.take_up(10, LEASE_MS, most_of_one=10, busy={})
    assert [orjson.loads(one.body)["data"]["scope"] for one in taken] == ["tenant:globex"]
    assert books.current(["tenant:acme", "tenant:globex"]) == []
