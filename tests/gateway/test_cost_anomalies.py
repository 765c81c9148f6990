"""Days on which a tenant cost much more than usual: which are told, which are not, and what made the difference."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from gateway.cost.anomalies import Jump, jump_on, parts_of, usual_of
from gateway.cost.outlook_words import jump_said
from registry.ledger.daily_usage import DailyUsage
from tests.gateway.test_cost_forecast import Series, closed_at_weekends, drifting, heavy, rare, steady, weekly

START, DAYS = 20_000, 60
LAST = START + DAYS
INPUT, OUTPUT = 300, 1_200
"""Nano-dollars a token."""


def used(day: int, requests: int, prompt: int = 400, answer: int = 100, **of: str | int) -> DailyUsage:
    """Of a key on acme/triage, with so many tokens a request."""
    read, written = requests * prompt, requests * answer
    row = DailyUsage(
        day, "acme", "key-1", "acme/triage@1.0", requests, read, 0, written, read * INPUT + written * OUTPUT, 0
    )
    return row._replace(**of)  # type: ignore[arg-type]


def usual(key: str = "key-1", requests: int = 1_000) -> list[DailyUsage]:
    """Sixty days that differ a little."""
    chance = random.Random(key)
    return [used(day, round(requests * chance.uniform(0.9, 1.1)), key_id=key) for day in range(START, LAST)]


def jump(*today: DailyUsage, before: Sequence[DailyUsage] = ()) -> Jump:
    found = jump_on([*(before or usual()), *today], LAST, START)
    assert found is not None
    return found


def test_a_day_like_the_others_is_none_and_one_a_third_larger_neither() -> None:
    assert jump_on([*usual(), used(LAST, 1_050)], LAST, START) is None
    assert jump_on([*usual(), used(LAST, 1_330)], LAST, START) is None


@pytest.mark.parametrize(
    ("today", "cause", "says"),
    [
        (used(LAST, 3_000), "requests", "More requests of key key-1 on acme/triage: 3,000 instead of"),
        (
            used(LAST, 1_000, prompt=4_000),
            "prompt length",
            "Longer prompts of key key-1 on acme/triage: 4,000 tokens instead of 400",
        ),
        (
            used(LAST, 1_000, answer=900),
            "answer length",
            "Longer answers of key key-1 on acme/triage: 900 tokens instead of 100",
        ),
        (
            used(LAST, 1_000)._replace(tariff_nano=10**9),
            "price",
            "A higher price of key key-1 on acme/triage: 4.2 times the usual a token",
        ),
    ],
)
def test_the_cause_is_told_apart_from_all_others(today: DailyUsage, cause: str, says: str) -> None:
    found = jump(today)
    assert found.parts[0].cause == cause
    assert found.parts[0].nano > 0.9 * found.change
    assert says in jump_said(found)


def test_a_version_that_began_to_answer_is_named() -> None:
    found = jump(used(LAST, 1_000, answer=900, model="acme/triage@1.1"))
    assert (found.parts[0].cause, found.parts[0].version) == ("answer length", "acme/triage@1.1")
    assert "which acme/triage@1.1 answers since then" in jump_said(found)


def test_the_key_that_does_more_is_named_and_a_new_one_is_called_new() -> None:
    both = [*usual(), *usual("key-2", 50)]
    grown = jump(used(LAST, 1_000), used(LAST, 2_500, key_id="key-2"), before=both)
    assert (grown.parts[0].key_id, grown.parts[0].cause) == ("key-2", "requests")
    new = jump(used(LAST, 1_000), used(LAST, 2_500, key_id="key-3"), before=both)
    assert "New that day: 2,500 requests of key key-3 on acme/triage" in jump_said(new)


def test_parts_add_up_to_the_difference_exactly() -> None:
    today = [used(LAST, 2_000, prompt=900, answer=30), used(LAST, 5, key_id="key-9"), used(LAST, 7, model="tiny")]
    before = [*usual(), *usual("key-2", 10)]
    _, change = parts_of([*before, *today], LAST, START, priced=True)
    was = sum(one.tariff_nano for one in before if one.day in {LAST - 7 * week for week in range(1, 5)}) / 4
    assert change == pytest.approx(sum(one.tariff_nano for one in today) - was, rel=1e-9)


def test_a_tenant_without_a_tariff_is_measured_in_tokens() -> None:
    free = [one._replace(tariff_nano=0) for one in usual()]
    found = jump(used(LAST, 3_000)._replace(tariff_nano=0), before=free)
    assert (found.priced, found.amount, found.parts[0].cause) == (False, 3_000 * 800, "requests")
    assert "2,400,000 weighted tokens" in jump_said(found)


def test_a_busy_weekday_is_no_jump_though_it_is_thrice_the_day_before() -> None:
    values = [round(1e9 * one) for one in closed_at_weekends(random.Random(7), 70)]
    monday = next(day for day in range(56, 63) if day % 7 == 0)
    assert usual_of(values[:monday], values[monday], monday) is None


def test_it_is_too_early_while_little_is_known() -> None:
    assert jump_on([*usual()[-10:], used(LAST, 9_000)], LAST, START) is None
    assert jump_on([*usual()[-30:], used(LAST, 9_000)], LAST, START) is not None


@pytest.mark.parametrize(
    ("series", "most"), [(steady, 1), (weekly, 1), (closed_at_weekends, 1), (drifting, 1), (rare, 1), (heavy, 4)]
)
def test_quiet_tenants_raise_hardly_an_alarm(series: Series, most: int) -> None:
    """Of 600 days. With tails of Student's t on the scale of logarithms it is about three in a thousand."""
    assert _alarms(series, 2) <= most


def _alarms(series: Callable[[random.Random, int], list[float]], tenants: int) -> int:
    chance, alarms = random.Random(series.__name__), 0
    for _ in range(tenants):
        values = [round(one * 1e6) for one in series(chance, 335)]
        alarms += sum(
            usual_of(values[max(0, day - 91) : day], values[day], START + day) is not None for day in range(35, 335)
        )
    return alarms
