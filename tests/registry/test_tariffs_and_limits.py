"""Prices are dated and never edited, limits name what exists, and gateways learn of both."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import delete
from sqlalchemy.exc import DBAPIError

from registry.catalog.reader import read_catalog, update_catalog
from registry.catalog.snapshot import LimitEntry, TariffEntry
from registry.days import DAY_MS
from registry.db import now_ms
from registry.errors import Conflict, InvalidInput, NotFound
from registry.prices.rows import Tariff
from registry.service import Registry
from tests.registry.conftest import Shop

PRICE: dict[str, Any] = {"input_dollars": "0.30", "output_dollars": "1.20", "source": "a test"}


def test_a_price_is_kept_in_whole_nano_dollars_and_cached_input_costs_as_much_as_input(registry: Registry) -> None:
    info = registry.tariffs.add("base:tiny", **PRICE)
    assert (info.input_nano_per_mtok, info.cached_input_nano_per_mtok) == (300_000_000, 300_000_000)
    assert info.output_nano_per_mtok == 1_200_000_000
    assert registry.tariffs.add("tenant:acme", **PRICE, cached_dollars="0.03").cached_input_nano_per_mtok == 30_000_000


def test_once_a_price_has_begun_the_next_one_does_not_begin_in_the_past(registry: Registry) -> None:
    registry.tariffs.add("base:tiny", **PRICE, effective_from_ms=now_ms() + DAY_MS)
    registry.tariffs.add("base:tiny", **PRICE, effective_from_ms=now_ms() - 10 * DAY_MS)
    with pytest.raises(Conflict, match="begins now or later"):
        registry.tariffs.add("base:tiny", **PRICE, effective_from_ms=now_ms() - DAY_MS)
    assert [info.state for info in registry.tariffs.all("base:tiny")] == ["replaced", "in force"]


def test_a_price_replaces_those_that_would_begin_no_earlier(registry: Registry) -> None:
    tomorrow_ms, typo_ms = now_ms() + DAY_MS, now_ms() + 180 * 365 * DAY_MS
    add = registry.tariffs.add
    add("base:tiny", **PRICE, effective_from_ms=now_ms() - 10 * DAY_MS)
    time.sleep(0.002)  # one of the same millisecond would be replaced
    add("base:tiny", **{**PRICE, "input_dollars": "0.40"})
    add("base:tiny", **{**PRICE, "input_dollars": "9"}, effective_from_ms=typo_ms)
    add("base:tiny", **{**PRICE, "input_dollars": "8"}, effective_from_ms=tomorrow_ms)
    add("base:tiny", **{**PRICE, "input_dollars": "0.50"}, effective_from_ms=tomorrow_ms)
    states = [info.state for info in registry.tariffs.all("base:tiny")]
    assert states == ["over", "in force", "replaced", "replaced", "to come"]
    entries = read_catalog(registry.db).tariffs["base:tiny"]
    assert [entry.input_nano_per_mtok for entry in entries] == [500_000_000, 400_000_000, 300_000_000]


@pytest.mark.parametrize("statement", ["UPDATE tariffs SET source = 'elsewhere'", "DELETE FROM tariffs"])
def test_the_database_itself_refuses_to_edit_a_price(registry: Registry, statement: str) -> None:
    registry.tariffs.add("base:tiny", **PRICE)
    with (
        pytest.raises(DBAPIError, match="tariffs is append-only"),
        registry.db.engine.execution_options(switchyard_write=True).begin() as connection,
    ):
        connection.exec_driver_sql(statement)


def test_a_statement_that_writes_prices_past_the_session_is_refused(registry: Registry) -> None:
    with pytest.raises(TypeError, match="writes tariffs past the session"), registry.db.write() as session:
        session.execute(delete(Tariff))


@pytest.mark.parametrize("scope", ["acme", "key:key-1", "base:", "team:acme"])
def test_a_price_for_what_has_none_is_refused(registry: Registry, scope: str) -> None:
    with pytest.raises(InvalidInput, match="expected base:NAME or tenant:NAME or adapter:tenant/adapter"):
        registry.tariffs.add(scope, **PRICE)


@pytest.mark.parametrize("scope", ["tenant:initech", "key:key-1", "adapter:acme/nothing", "adapter:acme"])
def test_a_limit_of_what_does_not_exist_is_refused(registry: Registry, scope: str) -> None:
    with pytest.raises(NotFound, match="shows them"):
        registry.limits.set(scope, {"concurrency": 1})


@pytest.mark.parametrize(
    ("most", "says"),
    [
        ({}, "no limit is named; choose from requests_per_minute"),
        ({"concurrency": -1}, "concurrency is -1; expected a number from 0"),
        ({"speed": 3}, "'speed' is no limit; choose from requests_per_minute"),
    ],
)
def test_limits_that_mean_nothing_are_refused(registry: Registry, most: dict[str, int], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        registry.limits.set("tenant:acme", most)


def test_limits_that_are_not_named_stay_as_they_were(registry: Registry) -> None:
    registry.limits.set("tenant:acme", {"concurrency": 4})
    info = registry.limits.set("tenant:acme", {"daily_nano": 5})
    assert (info.concurrency, info.daily_nano, info.monthly_nano) == (4, 5, None)
    registry.limits.clear("tenant:acme")
    assert registry.limits.all() == []
    with pytest.raises(NotFound, match="has no limits"):
        registry.limits.clear("tenant:acme")


def test_a_limit_is_taken_away_by_itself_and_the_last_one_only_with_all_of_them(registry: Registry) -> None:
    registry.limits.set("tenant:acme", {"concurrency": 4, "daily_nano": 5})
    assert registry.limits.set("tenant:acme", {"concurrency": None}).concurrency is None
    with pytest.raises(InvalidInput, match=r"tenant:acme would have no limit left; .*limits clear"):
        registry.limits.set("tenant:acme", {"daily_nano": None})
    assert registry.limits.get("tenant:acme").daily_nano == 5
    with pytest.raises(NotFound, match="tenant:acme has no daily-tokens; `switchyard limits list` shows"):
        registry.limits.clear("tenant:acme", ["daily-tokens", "daily-dollars"])
    assert registry.limits.get("tenant:acme").daily_nano == 5, "all that are named or none"


def test_what_has_no_limits_and_what_does_not_exist_are_told_apart(registry: Registry) -> None:
    with pytest.raises(NotFound, match="tenant:acme has no limits"):
        registry.limits.get("tenant:acme")
    with pytest.raises(NotFound, match="there is no tenant 'initech'"):
        registry.limits.get("tenant:initech")
    with pytest.raises(InvalidInput, match="expected tenant:NAME or key:ID"):
        registry.limits.get("acme")


def test_limits_come_in_pages_by_scope(registry: Registry) -> None:
    registry.tenants.create("hooli")
    for name in ("hooli", "acme", "globex"):
        registry.limits.set(f"tenant:{name}", {"concurrency": 1})
    assert [one.scope for one in registry.limits.page(None, 2)] == ["tenant:acme", "tenant:globex"]
    assert [one.scope for one in registry.limits.page("tenant:globex", 2)] == ["tenant:hooli"]


@pytest.mark.parametrize("percent", [0, 101, -1])
def test_a_warning_is_between_one_and_a_hundred_percent(registry: Registry, percent: int) -> None:
    with pytest.raises(InvalidInput, match=f"^warn_percent is {percent}; expected 1 to 100"):
        registry.limits.set("tenant:acme", {"daily_tokens": 10, "warn_percent": percent})


def test_a_warning_needs_a_budget_to_warn_of(registry: Registry) -> None:
    with pytest.raises(InvalidInput, match="warn_percent is 80 and tenant:acme has no budget to warn of; set one"):
        registry.limits.set("tenant:acme", {"concurrency": 4, "warn_percent": 80})
    assert registry.limits.all() == []
    registry.limits.set("tenant:acme", {"monthly_tokens": 7})
    assert registry.limits.set("tenant:acme", {"warn_percent": 80}).warn_percent == 80
    with pytest.raises(InvalidInput, match="no budget to warn of"):
        registry.limits.set("tenant:acme", {"monthly_tokens": None})


def test_gateways_learn_of_each_price_and_limit_by_itself(shop: Shop) -> None:
    registry = shop.registry
    shop.versions(1)
    key = registry.tenants.create_key("acme").id
    known = read_catalog(registry.db)
    registry.tariffs.add("base:tiny", **PRICE, effective_from_ms=1)
    registry.tariffs.add("base:tiny", input_dollars="2", output_dollars="3", source="x", effective_from_ms=2**45)
    registry.limits.set(f"key:{key}", {"requests_per_minute": 5})
    registry.limits.set("adapter:acme/triage", {"monthly_tokens": 7, "warn_percent": 80})
    newest = update_catalog(registry.db, known)
    assert newest == read_catalog(registry.db)
    assert newest.tariffs["base:tiny"][1] == TariffEntry(1, 300_000_000, 300_000_000, 1_200_000_000)
    assert newest.tariffs["base:tiny"][0].effective_from_ms == 2**45
    assert newest.limits["adapter:acme/triage"] == LimitEntry(None, None, None, None, None, None, 7, 80)
    assert newest.adapters is known.adapters
    registry.limits.clear(f"key:{key}")
    after = update_catalog(registry.db, newest)
    assert after == read_catalog(registry.db)
    assert set(after.limits) == {"adapter:acme/triage"}
    assert after.tariffs is newest.tariffs
