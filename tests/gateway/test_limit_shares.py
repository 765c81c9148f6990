"""Workers of one gateway divide what is left of a budget, and none of them can spend another one's part again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import pytest

from gateway.cost.limits import Ask, Bill, Limits
from gateway.errors import QuotaExceeded, RateLimited
from gateway.handoffs import Usage
from registry.catalog import EMPTY, Catalog, LimitEntry, TariffEntry
from registry.db import now_ms
from registry.spending import Spent

SCOPE = "tenant:acme"
PRICE = TariffEntry(0, 1_000_000, 1_000_000, 1_000_000)
"""A nano-dollar for each token."""


@dataclass
class Books:
    """A ledger of one scope: when, and how many tokens, at a nano-dollar each."""

    attempts: list[tuple[int, int]] = field(default_factory=list)

    def between(self, since_ms: int, until_ms: int) -> Mapping[str, Spent]:
        spent = sum(tokens for at_ms, tokens in self.attempts if since_ms <= at_ms < until_ms)
        return {SCOPE: Spent(spent, spent)}


def catalog(**most: int) -> Catalog:
    entry = LimitEntry(None, None, None, None, None, None, None)
    return replace(EMPTY, limits=MappingProxyType({SCOPE: replace(entry, **most)}))


def worker(books: Books, limits: Catalog, shares: int, gateway_since_ms: int | None) -> Limits:
    made = Limits(books.between, shares=shares, gateway_since_ms=gateway_since_ms)
    made.adopt(limits)
    made.read_books()
    return made


def spend_all(made: Limits, limits: Catalog, books: Books, tokens: int = 10) -> int:
    """Requests of so many tokens until one is refused; what they have used."""
    used = 0
    while True:
        try:
            with Bill(made, (SCOPE,), PRICE, made.counters_of(limits, (SCOPE,)), Ask(tokens, tokens, tokens)) as bill:
                at_ms = now_ms()
                assert bill.charge(Usage(tokens, 0, 0, "engine", sent=True), "ok", at_ms) == tokens
        except QuotaExceeded:
            return used
        books.attempts.append((at_ms, tokens))
        used += tokens


@pytest.mark.parametrize("window", ["monthly_nano", "monthly_tokens"])
def test_two_workers_together_spend_what_was_left_and_no_more(window: str) -> None:
    began = now_ms()
    books, limits = Books([(began - 1, 200)]), catalog(**{window: 1_000})
    workers = [worker(books, limits, 2, began) for _ in range(2)]
    assert [spend_all(one, limits, books) for one in workers] == [400, 400]


def test_a_worker_that_takes_the_place_of_another_does_not_spend_its_part_again() -> None:
    began = now_ms() - 1_000
    books, limits = Books(), catalog(monthly_nano=1_000)
    first = worker(books, limits, 2, began)
    books.attempts.append((began + 1, 300))  # by the second one, which then died
    successor = worker(books, limits, 2, began)
    assert spend_all(successor, limits, books) == 200
    assert spend_all(first, limits, books) <= 500
    assert sum(tokens for _, tokens in books.attempts) <= 1_000


def test_rates_are_divided_and_leave_at_least_one() -> None:
    limits = catalog(requests_per_minute=5, concurrency=1)
    one = worker(Books(), limits, 2, None)
    counter = one.counter(SCOPE)
    assert counter is not None
    assert counter.requests is not None
    assert (counter.requests.limit, counter.concurrency) == (2, 1)


def test_a_request_for_which_only_holds_are_in_the_way_is_told_to_come_back() -> None:
    limits = catalog(daily_tokens=100)
    one = worker(Books(), limits, 1, None)
    counters = one.counters_of(limits, (SCOPE,))
    with Bill(one, (SCOPE,), PRICE, counters, Ask(60, 60, 60)):
        with pytest.raises(RateLimited) as told:
            Bill(one, (SCOPE,), PRICE, counters, Ask(60, 60, 60))
        assert told.value.retry_after_s == 1
    with pytest.raises(QuotaExceeded):
        Bill(one, (SCOPE,), PRICE, counters, Ask(101, 101, 101))


def test_a_failure_of_ours_costs_nothing_and_gives_back_what_it_held() -> None:
    limits = catalog(daily_nano=100, tokens_per_minute=100)
    one = worker(Books(), limits, 1, None)
    counter = one.counter(SCOPE)
    assert counter is not None
    with Bill(one, (SCOPE,), PRICE, [counter], Ask(100, 100, 100)) as bill:
        assert bill.charge(Usage(90, 0, 10, "partial", sent=True), "engine_failed", now_ms()) == 0
    assert (counter.day.nano, counter.held_nano, counter.held_tokens, counter.in_flight) == (0, 0, 0, 0)
    with Bill(one, (SCOPE,), PRICE, [counter], Ask(100, 100, 100)):
        assert counter.held_nano == 100
