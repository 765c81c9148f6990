"""Lists of prices are taken into the log as news: once each, for today, and never over what a person wrote down."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry.days import DAY_MS, day_ms
from registry.prices.baseline_infos import COMPONENTS
from registry.prices.baseline_writing import Facts
from registry.prices.baselines import Baselines
from registry.prices.price_log import Said
from registry.prices.shipped import shipped_lines
from registry.service import Registry

SQLITE_ALONE = True
TODAY = 20_000 * DAY_MS
DOLLAR = 1_000_000_000
NOVEMBER = day_ms("2026-11-29", "day")


class Clock:
    def __init__(self, now_ms: int = TODAY) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms + 3_600_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(registry: Registry, clock: Clock) -> Baselines:
    return Baselines(registry.db, clock, list)


def listed(from_ms: int, dollars: float, **changes: object) -> Said:
    return replace(Said("gpt", "input", from_ms, "a list", "shipped", round(dollars * DOLLAR)), **changes)  # type: ignore[arg-type]


def inputs(log: Baselines, version: str | None = None) -> list[tuple[int, float | None]]:
    """The days from today on which the price of input changes, and what it is then."""
    nano = [((p.from_ms - TODAY) // DAY_MS, p.nano("input")) for p in log.prices("gpt", version)]
    return [(day, None if price is None else price / DOLLAR) for day, price in nano]


def test_a_new_list_fills_the_log_with_all_its_dates_and_again_adds_nothing(log: Baselines) -> None:
    prices = [listed(TODAY - 30 * DAY_MS, 3), listed(TODAY - 10 * DAY_MS, 2), listed(TODAY + 5 * DAY_MS, 1)]
    assert len(log.take(prices).added) == 3
    assert inputs(log) == [(-30, 3), (-10, 2), (5, 1)]
    version = log.version()
    assert log.take(prices).added == ()
    assert log.version() == version


def test_news_of_days_that_had_a_price_hold_from_today_on_and_say_when_they_should_have(
    log: Baselines, clock: Clock
) -> None:
    log.take([listed(TODAY - 30 * DAY_MS, 3)])
    news = [listed(TODAY - 30 * DAY_MS, 3), listed(TODAY - 2 * DAY_MS, 2)]
    log.take(news)
    assert inputs(log) == [(-30, 3), (0, 2)]
    price = log.prices("gpt")[-1].components["input"]
    assert (price.stated_from_ms, price.effective_from_ms) == (TODAY - 2 * DAY_MS, TODAY)
    clock.now_ms += DAY_MS
    assert log.take(news).added == ()
    log.take([listed(TODAY - 30 * DAY_MS, 3), listed(TODAY - 2 * DAY_MS, 2.5)])
    assert inputs(log) == [(-30, 3), (0, 2), (1, 2.5)]
    log.take([listed(TODAY - 30 * DAY_MS, 3), listed(TODAY - 2 * DAY_MS, 2)])
    assert inputs(log) == [(-30, 3), (0, 2), (1, 2)], "back again, on the same day"


def test_a_list_that_changes_its_mind_about_a_day_to_come_is_followed(log: Baselines) -> None:
    log.take([listed(TODAY - DAY_MS, 3), listed(TODAY + 5 * DAY_MS, 2)])
    before = log.version()
    log.take([listed(TODAY - DAY_MS, 3), listed(TODAY + 5 * DAY_MS, 1)])
    assert inputs(log) == [(-1, 3), (5, 1)]
    assert inputs(log, before) == [(-1, 3), (5, 2)]


def test_what_a_person_wrote_down_is_kept_and_the_list_is_told(log: Baselines) -> None:
    log.add_prices("gpt", {"input": "9"}, source="our contract", effective_from_ms=TODAY - 5 * DAY_MS)
    log.say("gpt", Facts(status="live", tokenizer="ours"), source="a letter")
    taken = log.take(
        [
            listed(TODAY - DAY_MS, 2),
            listed(TODAY - 20 * DAY_MS, 4),
            Said("gpt", "tokenizer", TODAY, "a list", "shipped", text="theirs"),
            Said("gpt", "status", TODAY + DAY_MS, "a list", "shipped", text="retired"),
        ]
    )
    assert inputs(log) == [(-20, 4), (-5, 9)], "before the contract there was no price"
    assert log.info("gpt").tokenizer == "ours"
    assert sorted(taken.left) == [
        "input of gpt is $2 from 2024-10-03 on by a list; yours is kept ($9)",
        "status of gpt is 'retired' by a list; yours is kept ('live')",
        "tokenizer of gpt is 'theirs' by a list; yours is kept ('ours')",
    ]


def test_a_list_that_says_the_same_later_says_that_it_looked(log: Baselines) -> None:
    def read(day: int) -> list[Said]:
        at_ms = TODAY + day * DAY_MS
        return [
            listed(TODAY, 3, retrieved_at_ms=at_ms),
            Said("gpt", "checked", at_ms, "a list", "shipped", retrieved_at_ms=at_ms),
        ]

    assert [said.field for said in log.take(read(-3)).added] == ["input"]
    assert log.info("gpt").checked_at_ms == TODAY - 3 * DAY_MS
    assert log.take(read(-3)).added == ()
    assert [said.field for said in log.take(read(4)).added] == ["checked"]
    assert log.info("gpt").checked_at_ms == TODAY + 4 * DAY_MS


def test_the_table_of_this_package_is_in_the_log_before_it_is_read_first(registry: Registry) -> None:
    log = Baselines(registry.db, Clock(NOVEMBER))
    version = log.version()
    assert Baselines(registry.db, Clock(NOVEMBER + 400 * DAY_MS)).version() == version, "once, whoever asks when"
    mini = log.info("ft:gpt-4o-mini")
    assert (mini.state, mini.ends_at_ms, mini.substitute) == ("retiring", day_ms("2027-01-14", "day"), "gpt-5.4-mini")
    (prices,) = [period for period in log.prices("ft:gpt-4o-mini") if period.from_ms == day_ms("2026-10-14", "day")]
    assert {name: prices.nano(name) for name in COMPONENTS} == {
        "input": 300_000_000,
        "cached_input": 150_000_000,
        "output": 1_200_000_000,
        "batch_input": 150_000_000,
        "batch_output": 600_000_000,
        "training": 3 * DOLLAR,
    }
    gpt4 = log.info("gpt-4")
    assert gpt4.state == "retired"
    assert gpt4.claim is not None
    assert gpt4.claim.nano_per_month == 25_000 * DOLLAR
    assert "fits no list price" in gpt4.claim.note


def test_every_figure_of_the_table_has_a_source_and_says_what_is_unverified(registry: Registry) -> None:
    lines = shipped_lines()
    names = {line.name for line in lines}
    assert {"gpt-4", "gpt-4-turbo", "gpt-4o", "ft:gpt-4o", "ft:gpt-4o-mini", "ft:gpt-4.1-mini", "gpt-5-mini"} <= names
    for line in lines:
        assert line.source, line
        assert line.retrieved_at_ms is not None or "unverified" in line.note, line
        assert max(len(line.source), len(line.note), len(line.text or "")) <= 500
        if line.field == "substitute":
            assert line.text in names, "a substitute has prices too"
    assert len({(line.name, line.field, line.effective_from_ms) for line in lines}) == len(lines)
    assert registry.baselines.names() == sorted(names)
