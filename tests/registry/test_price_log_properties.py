"""Whatever is added, corrected and taken from lists, in any order: a version says the same for ever, and what is added
today changes no figure of before today.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from registry.days import DAY_MS
from registry.errors import Conflict
from registry.money import NANO, cost_nano
from registry.prices.baseline_infos import COMPONENTS, PricePeriod
from registry.prices.baselines import Baselines
from registry.prices.price_log import Said
from registry.service import Registry

SQLITE_ALONE = True
START = 20_000
"""The first day."""
DAYS = range(START - 30, START + 30)
NAMES = ("a", "b")


class Calendar:
    """A clock that is moved by days."""

    def __init__(self) -> None:
        self.today = START

    def __call__(self) -> int:
        return self.today * DAY_MS + 3_600_000


class History:
    """Random writes into one log, and what it said after each."""

    def __init__(self, registry: Registry, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = Calendar()
        self.log = Baselines(registry.db, self.clock, list)
        self.said: dict[str, dict[str, tuple[PricePeriod, ...]]] = {}

    def now(self) -> dict[str, tuple[PricePeriod, ...]]:
        return {name: self.log.prices(name) for name in self.log.names()}

    def price(self) -> int:
        return self.random.randrange(1, 50) * NANO // 10

    def day(self) -> int:
        return self.random.choice(DAYS)

    def add(self) -> None:
        components = self.random.sample(COMPONENTS, 2)
        dollars = {component: str(self.price() // (NANO // 10)) for component in components}
        name, from_ms = self.random.choice(NAMES), self.day() * DAY_MS
        self.log.add_prices(name, dollars, source="me", effective_from_ms=from_ms)

    def correct(self) -> None:
        name = self.random.choice(self.log.names() or ["a"])
        dollars = {self.random.choice(COMPONENTS): self.random.choice([None, "7"])}
        if self.log.names():
            self.log.correct(name, dollars, source="me", effective_from_ms=self.day() * DAY_MS)

    def take(self) -> None:
        days = [0, *(day * DAY_MS for day in self.random.sample(DAYS, 3))]
        origin = self.random.choice(["shipped", "genai-prices"])
        said = [
            Said(self.random.choice(NAMES), self.random.choice(COMPONENTS), from_ms, "a list", origin, self.price())
            for from_ms in days
        ]
        self.log.take(said)

    def wait(self) -> None:
        self.clock.today += self.random.randrange(1, 4)

    def write(self, step: Callable[[], None]) -> None:
        """Whatever is refused leaves nothing."""
        try:
            step()
        except Conflict:
            assert self.now() == self.said.get(self.log.version(), {})
        self.said[self.log.version()] = self.now()


def in_force(periods: tuple[PricePeriod, ...], at_ms: int, component: str) -> int | None:
    return next((p.nano(component) for p in reversed(periods) if p.from_ms <= at_ms), None)


@pytest.fixture(params=range(4))
def history(request: pytest.FixtureRequest, registry: Registry) -> History:
    return History(registry, request.param)


def test_a_version_says_the_same_for_ever(history: History) -> None:
    steps = (history.add, history.add, history.correct, history.take, history.wait)
    for _ in range(25):
        history.write(history.random.choice(steps))
    assert len(history.said) > 8
    for version, then in history.said.items():
        assert {name: history.log.prices(name, version) for name in history.log.names(version)} == then
        for periods in then.values():
            for period in filter(lambda one: one.complete, periods):
                again = next(one for one in history.log.prices(period.name, version) if one.from_ms == period.from_ms)
                assert cost_nano(977, 311, 53, again) == cost_nano(977, 311, 53, period)
    assert history.log.faults() == []


def test_what_is_added_or_taken_today_changes_no_figure_of_before_today(history: History) -> None:
    for _ in range(25):
        before, today = history.now(), history.clock.today
        history.write(history.random.choice((history.add, history.add, history.take, history.wait)))
        after = history.now()
        for name, periods in before.items():
            for day in range(START - 40, today):
                for component in COMPONENTS:
                    had = in_force(periods, day * DAY_MS, component)
                    assert had in (None, in_force(after[name], day * DAY_MS, component)), (name, day, component)


def test_a_list_that_is_taken_again_adds_nothing_on_any_later_day(history: History) -> None:
    for _ in range(6):
        history.write(history.random.choice((history.add, history.take)))
    days = [day * DAY_MS for day in history.random.sample(DAYS, 4)]
    said = [
        Said("a", component, from_ms, "a list", "shipped", history.price())
        for from_ms in days
        for component in COMPONENTS
    ]
    history.log.take(said)
    version = history.log.version()
    for _ in range(5):
        history.wait()
        history.log.take(said)
        assert history.log.version() == version
