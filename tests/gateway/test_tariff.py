"""What tokens cost: the price that is in force, and a sum that is exact to its last rounding."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from types import MappingProxyType

import pytest

from gateway.cost.tariff import price_of
from gateway.limits.counters import Counter
from gateway.limits.lending import CapGrant
from gateway.limits.rates import Rate
from gateway.limits.refusals import over_rate
from gateway.limits.windows import Tally
from registry.catalog.snapshot import EMPTY, BaseEntry, Catalog, LimitEntry, TariffEntry
from registry.days import DAY_MS, day_of, month_of
from registry.limits.spending import Spent

BUDGETS = ("daily_nano", "monthly_nano", "daily_tokens", "monthly_tokens")
NO_LIMITS = LimitEntry(None, None, None, None, None, None, None)
BASE, TENANT, ADAPTER = (TariffEntry(0, number, number, number) for number in (1, 2, 3))


def catalog(**tariffs: tuple[TariffEntry, ...]) -> Catalog:
    named = {"base": "base:tiny", "tenant": "tenant:acme", "adapter": "adapter:acme/triage"}
    return replace(
        EMPTY,
        bases=MappingProxyType({"tiny": BaseEntry("tiny", "sha256:1", 0)}),
        tariffs=MappingProxyType({named[kind]: prices for kind, prices in tariffs.items()}),
    )


def test_the_most_particular_price_counts() -> None:
    everything = catalog(base=(BASE,), tenant=(TENANT,), adapter=(ADAPTER,))
    assert price_of(everything, "acme", "triage", "sha256:1", 1) == ADAPTER
    assert price_of(everything, "acme", "other", "sha256:1", 1) == TENANT
    assert price_of(everything, "acme", None, "sha256:1", 1) == TENANT
    assert price_of(everything, "globex", "triage", "sha256:1", 1) == BASE
    assert price_of(everything, "globex", "triage", "sha256:2", 1) is None


def test_a_price_holds_from_its_date_and_before_the_first_there_is_none() -> None:
    older, newer = TariffEntry(100, 1, 1, 1), TariffEntry(200, 2, 2, 2)
    dated = catalog(base=(newer, older))
    prices = [price_of(dated, "acme", "triage", "sha256:1", at_ms) for at_ms in (99, 100, 199, 200)]
    assert prices == [None, older, older, newer]
    future_own = catalog(base=(older,), adapter=(newer,))
    assert price_of(future_own, "acme", "triage", "sha256:1", 150) == older


def test_a_rate_refills_within_a_minute_and_gives_back_what_was_not_used() -> None:
    rate = Rate(b"tokens", 60)
    assert not rate.lacks(60, 1_000.0)
    rate.take(60, 1_000.0)
    assert rate.lacks(1, 1_000.5)
    assert rate.wait_s(10, 1_000.0) == pytest.approx(10)
    assert not rate.lacks(10, 1_010.0)
    rate.take(-50, 1_010.0)
    assert rate.free(1_010.0) == pytest.approx(60)
    assert Rate(b"requests", 0).lacks(1, 1_000.0)


def test_a_budget_begins_anew_with_its_day_and_not_before() -> None:
    leap = 1_709_164_800_000  # 2024-02-29 00:00 UTC
    counter = Counter("tenant:acme", Tally(leap), shared=False)
    counter.obey(replace(NO_LIMITS, daily_nano=10, monthly_nano=100))
    counter.spend(leap, leap + 86_399_999, 5, 5)
    assert (counter.day.nano, counter.month.nano) == (5, 5)
    counter.spend(leap + DAY_MS - 2, leap + DAY_MS + 1, 2, 2)
    assert (counter.day.nano, counter.month.nano) == (0, 0), "what began yesterday is yesterday's"
    counter.spend(leap + DAY_MS, leap + DAY_MS + 1, 1, 1)
    assert (counter.day.nano, counter.month.nano) == (1, 1)


@pytest.mark.parametrize("shared", [False, True])
def test_the_rooms_are_those_of_the_tightest_budgets_whatever_changes_them(*, shared: bool) -> None:
    draw, now_ms, spent = random.Random(4), 1_709_164_800_000, Spent()
    counter = Counter("tenant:acme", Tally(now_ms), shared=shared)

    def obey() -> None:
        budgets = {name: draw.choice([None, draw.randrange(1_000)]) for name in BUDGETS}
        counter.obey(replace(NO_LIMITS, **budgets))

    def spend() -> None:
        counter.spend(now_ms - draw.choice([0, 3_600_000, DAY_MS]), now_ms, draw.randrange(50), draw.randrange(50))

    def read() -> None:
        nonlocal spent
        spent = Spent(spent.nano + draw.randrange(9), spent.tokens + draw.randrange(9))
        counter.read(
            {("daily", day_of(now_ms)[0]): {"other": spent}, ("monthly", month_of(now_ms)[0]): {"other": spent}}
        )

    def lend() -> None:
        for cap in counter.caps():
            cap.wish(busy=draw.random() < 0.5)
            cap.accept(CapGrant(cap.account, draw.randrange(1_000), 0, 0, contended=False))

    for _ in range(2_000):
        draw.choice([obey, spend, spend, read, lend])()
        now_ms += draw.choice([0, 0, 3_600_000])
        if now_ms >= counter.day.ends_ms:
            counter.roll(now_ms)
        if counter.unread:
            read()
        rooms = {
            unit: min((one.allowed - one.spent() for one in counter.budgets if one.unit == unit), default=math.inf)
            for unit in ("dollars", "tokens")
        }
        assert rooms == {"dollars": counter.nano_room, "tokens": counter.token_room}


def test_a_limit_of_nothing_is_not_blamed_on_the_length_of_the_request() -> None:
    refusal = over_rate("tenant:acme", "requests", Rate(b"requests", 0), 1, 0.0)
    assert refusal.message == (
        "No requests are allowed to this tenant (acme): the limit is 0 a minute. Ask the operator to raise it."
    )
    assert not refusal.should_retry
