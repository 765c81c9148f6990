"""Soft limits: clients read of them in a header, and the operator's webhook gets each crossing once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from openai import OpenAI
from pydantic import ValidationError

from gateway.limits.counters import Counter
from gateway.limits.warnings import BudgetWarnings, look, warning_headers
from gateway.limits.windows import Tally
from gateway.settings import GatewaySettings
from gateway.webhooks.courier import Courier
from gateway.webhooks.sender import Destinations
from registry.catalog.snapshot import LimitEntry
from registry.db import now_ms
from registry.limits.budget_warnings import BudgetWarningBooks
from registry.limits.spending import Spent
from registry.webhooks.outbox import Outbox
from tests.support.outbox import undelivered
from tests.support.stack import House
from tests.support.waiting import wait_until_async
from tests.support.webhook_host import WebhookHost, webhook_host

DOLLAR = 1_000_000_000


def limited(scope: str, warn: int | None, spent: Spent, **most: int) -> Counter:
    """A scope that has spent so much since it has these limits."""
    made = Counter(scope, Tally(now_ms()), shared=False)
    made.obey(replace(LimitEntry(None, None, None, None, None, None, None, warn), **most))
    spend(made, spent)
    return made


def spend(counter: Counter, spent: Spent) -> None:
    counter.spend(now_ms(), now_ms(), spent.nano, spent.tokens)


def daily(scope: str = "tenant:acme", *, spent: int, budget: int = 5 * DOLLAR, warn: int | None = 80) -> Counter:
    """A scope with a budget in dollars."""
    return limited(scope, warn, Spent(spent, 7), daily_nano=budget)


def header(*counters: Counter) -> str | None:
    for counter in counters:
        look(counter, now_ms())
    found = dict(warning_headers(counters))
    assert found.keys() <= {b"x-switchyard-budget-warning"}
    return found[b"x-switchyard-budget-warning"].decode() if found else None


def test_a_budget_is_told_of_from_its_percentage_on() -> None:
    assert header(daily(spent=4 * DOLLAR - 1)) is None
    assert header(daily(spent=4 * DOLLAR)) == "tenant:acme daily budget 80% used"
    assert header(daily(spent=4_199_999_999)) == "tenant:acme daily budget 83% used"
    assert header(daily(spent=5 * DOLLAR)) == "tenant:acme daily budget 100% used"


def test_what_has_no_percentage_or_no_budget_is_not_told_of() -> None:
    assert header() is None
    assert header(daily(spent=5 * DOLLAR, warn=None)) is None
    assert header(limited("tenant:acme", 80, Spent(1, 1))) is None
    assert header(daily(spent=0, budget=0)) is None


def test_all_budgets_that_warn_are_in_one_header() -> None:
    counters = [
        daily(spent=4 * DOLLAR),
        daily("key:k-1", spent=5 * DOLLAR, warn=None),
        limited("adapter:acme/triage", 90, Spent(DOLLAR, 950), monthly_nano=DOLLAR, monthly_tokens=1_000),
    ]
    assert header(*counters) == (
        "tenant:acme daily budget 80% used, adapter:acme/triage monthly budget 100% used, "
        "adapter:acme/triage monthly token budget 95% used"
    )


def test_a_window_that_has_ended_is_not_told_of() -> None:
    counter = daily(spent=5 * DOLLAR)
    counter.day.ends_ms = now_ms()
    assert header(counter) is None


@pytest.fixture
def books(house: House) -> BudgetWarningBooks:
    return BudgetWarningBooks(house.registry.db)


def warnings(counters: Callable[[], list[Counter]], books: BudgetWarningBooks) -> BudgetWarnings:
    return BudgetWarnings(counters, books, tells=True)


def courier(outbox: Outbox, url: str, secret: str | None) -> Courier:
    return Courier(outbox, Destinations(url, secret, ()), lambda: None)


@pytest.fixture
def outbox(house: House) -> Outbox:
    return house.registry.outbox


@pytest.fixture
def host() -> Iterator[WebhookHost]:
    with webhook_host() as host:
        yield host


@asynccontextmanager
async def running(*works: BudgetWarnings | Courier) -> AsyncIterator[None]:
    """Their tasks."""
    tasks = [asyncio.create_task(one.run()) for one in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in outcomes), outcomes


async def test_of_several_workers_one_sends_a_signed_document_of_the_crossing(
    books: BudgetWarningBooks, outbox: Outbox, host: WebhookHost
) -> None:
    counter = daily(spent=4_150_000_000)
    workers = [
        work for _ in range(3) for work in (warnings(lambda: [counter], books), courier(outbox, host.url, "hush"))
    ]
    async with running(*workers):
        await wait_until_async("the delivery", lambda: host.bodies)
        await wait_until_async("the note of it", lambda: not undelivered(outbox))
        spend(counter, Spent(DOLLAR, 9))
        looks = 0

        def again() -> list[Counter]:
            nonlocal looks
            looks += 1
            return [counter]

        async with running(warnings(again, books), courier(outbox, host.url, None)):
            await wait_until_async("another worker to look twice", lambda: looks == 2)
    (event,) = host.documents()
    document = event["data"]
    window = counter.budgets[0].window
    noted_at, starts_at, ends_at = (document.pop(f"{name}_at") for name in ("noted", "window_starts", "window_ends"))
    assert (event["object"], event["type"]) == ("event", "budget.warning")
    assert document == {
        "scope": "tenant:acme",
        "window": "daily",
        "unit": "dollars",
        "budget": "5",
        "spent": "4.15",
        "percent": 83,
        "warn_percent": 80,
    }
    assert starts_at < noted_at < ends_at
    assert (starts_at[11:], ends_at[11:]) == ("00:00:00.000Z", "00:00:00.000Z")
    assert window.starts_ms < window.ends_ms
    unwrapped = OpenAI(api_key="x", webhook_secret="hush").webhooks.unwrap(host.bodies[0], host.headers[0])
    assert unwrapped.id == event["id"] == host.headers[0]["webhook-id"]
    assert host.headers[0]["content-type"] == "application/json"


async def test_tokens_are_counted_in_text_too_and_without_a_secret_nothing_is_signed(
    books: BudgetWarningBooks, outbox: Outbox, host: WebhookHost
) -> None:
    counter = limited("key:k-1", 50, Spent(0, 501), monthly_tokens=1_000)
    async with running(warnings(lambda: [counter], books), courier(outbox, host.url, None)):
        await wait_until_async("the delivery", lambda: host.bodies)
    document = host.documents()[0]["data"]
    assert (document["window"], document["unit"], document["budget"], document["spent"], document["percent"]) == (
        "monthly",
        "tokens",
        "1000",
        "501",
        50,
    )
    assert "webhook-signature" not in host.headers[0]


async def test_a_warning_that_was_refused_is_sent_again(
    books: BudgetWarningBooks, outbox: Outbox, host: WebhookHost
) -> None:
    host.statuses = [500, 302]
    counter = daily(spent=5 * DOLLAR)
    async with running(warnings(lambda: [counter], books), courier(outbox, host.url, None)):
        await wait_until_async("the third attempt", lambda: host.bodies)
        await wait_until_async("the note of it", lambda: not undelivered(outbox))
    assert host.calls == 3


async def test_what_nobody_has_delivered_is_taken_up_by_a_worker_that_starts_later(
    books: BudgetWarningBooks, outbox: Outbox, host: WebhookHost
) -> None:
    counter = daily(spent=5 * DOLLAR)
    async with running(warnings(lambda: [counter], books)):
        await wait_until_async("the note", lambda: books.current(["tenant:acme"]))
    assert host.calls == 0
    async with running(warnings(list, books), courier(outbox, host.url, None)):
        await wait_until_async("the delivery", lambda: host.bodies)
    assert host.documents()[0]["data"]["scope"] == "tenant:acme"


async def test_while_the_webhook_hangs_other_crossings_are_noted_and_stopping_does_not_wait(
    books: BudgetWarningBooks, outbox: Outbox, host: WebhookHost
) -> None:
    host.hangs = True
    counters = [daily(spent=5 * DOLLAR)]
    async with running(warnings(lambda: counters, books), courier(outbox, host.url, None)):
        await wait_until_async("the call", lambda: host.calls)
        counters.append(daily("tenant:globex", spent=5 * DOLLAR))
        await wait_until_async("the note", lambda: books.current(["tenant:globex"]))
    assert host.bodies == []
    assert undelivered(outbox) == 2


async def test_a_host_that_is_not_there_is_asked_again(books: BudgetWarningBooks, outbox: Outbox) -> None:
    with webhook_host() as gone:
        pass
    counter = daily(spent=5 * DOLLAR)
    async with running(warnings(lambda: [counter], books), courier(outbox, gone.url, None)):
        await wait_until_async("the note", lambda: undelivered(outbox))
        with webhook_host(gone.port) as back:
            await wait_until_async("the delivery", lambda: back.bodies)


@pytest.mark.parametrize("url", ["hooks.example.com/x", "ftp://hooks.example.com", "http://", "http://host:port/"])
def test_a_webhook_that_no_request_can_be_sent_to_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValidationError, match="budget_webhook_url"):
        GatewaySettings(budget_webhook_url=url)
