"""What the leader reads for metrics from the database: budgets, usage without a price or count, gaps, experiments."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.metrics import families
from gateway.metrics.facts import facts, gaps
from registry.days import DAY_MS, day_of
from registry.db import now_ms
from registry.ledger.engine_readings import Reading
from tests.support.stack import House
from tests.support.training_parts import ordered, running
from tests.support.usage_rows import usage_row


def of(house: House, family: families.Family, *tenants: str, at_ms: int | None = None) -> list[Any]:
    found = facts(house.registry, house.registry.catalog(), tenants, now_ms() if at_ms is None else at_ms)
    return found[family.name]


def book(house: House, name: str, **fields: Any) -> None:
    begin_ms = day_of(now_ms())[0]
    house.registry.ledger.record(
        [usage_row(name, started_at_ms=begin_ms, finished_at_ms=begin_ms + 1, tenant="acme", **fields)]
    )


def test_budgets_are_told_by_what_is_left_of_them_the_nearest_to_their_end_first(house: House) -> None:
    limits = house.registry.limits
    limits.set("tenant:acme", {"daily_nano": 10 * 10**9, "monthly_nano": 100 * 10**9})
    limits.set("tenant:globex", {"requests_per_minute": 5})
    book(house, "a", cost_nano=9 * 10**9)
    assert of(house, families.BUDGET_LEFT) == [
        [["tenant:acme", "daily", "dollars"], 0.1],
        [["tenant:acme", "monthly", "dollars"], 0.91],
    ]
    tomorrow = of(house, families.BUDGET_LEFT, at_ms=now_ms() + DAY_MS)
    assert [["tenant:acme", "daily", "dollars"], 1.0] in tomorrow


def test_twenty_budgets_are_told_and_those_of_tenants_that_are_named_always(house: House) -> None:
    for number in range(25):
        house.tenant(f"t{number:02}")
        house.registry.limits.set(f"tenant:t{number:02}", {"daily_tokens": 1_000})
    assert len(of(house, families.BUDGET_LEFT)) == 20
    assert [labels[0] for labels, _ in of(house, families.BUDGET_LEFT, "t24")][-1] == "tenant:t24"


def test_attempts_without_a_price_or_a_count_are_those_of_today(house: House) -> None:
    assert of(house, families.UNPRICED) == [[[], 0]]
    book(house, "priced", cost_nano=5)
    book(house, "unpriced", cost_nano=None)
    book(house, "probe", cost_nano=None, shadow=True)
    assert of(house, families.UNPRICED) == [[[], 1]]
    assert of(house, families.UNPRICED, at_ms=now_ms() + DAY_MS) == [[[], 0]]


def test_what_an_engine_has_counted_and_nobody_has_booked_is_a_gap(house: House) -> None:
    at_ms = now_ms()
    house.registry.readings.add(
        Reading("http://e1", 1, at_ms - ago_ms, at_ms - ago_ms + 1, 5, tokens, 0)
        for ago_ms, tokens in ((60_000, 100), (9_000, 5_100))
    )
    assert gaps(house.registry, at_ms) == {families.GAP.name: [[["http://e1"], 5_000]]}
    assert gaps(house.registry, at_ms + 2 * 3_600_000) == {families.GAP.name: []}


def test_jobs_are_told_by_status_with_the_longest_wait_and_the_newest_figures_of_what_runs(house: House) -> None:
    jobs, made_ms = house.registry.training, now_ms()
    trains = running(jobs, adapter="triage").id
    for step in (1, 2):
        data = {"step": step, "total_steps": 8, "train_loss": 1.0 / step, "learning_rate": 1e-4, "grad_norm": 0.5}
        more = {"full_valid_loss": 2.0} if step == 1 else {"tokens_per_second": 90.0, "seconds_left": 12.0}
        jobs.say(trains, "w-1", "info", f"Step {step}/8", "metrics", data | more)
    jobs.order(None, jobs.create(ordered(seed=1)).id, "pause")
    jobs.create(ordered("globex"))
    jobs.order(None, jobs.create(ordered(seed=2)).id, "cancel")
    at_ms = made_ms + 60_000
    assert of(house, families.TRAINING_JOBS) == [
        [["validating_files"], 1], [["queued"], 0], [["running"], 1], [["paused"], 1],
    ]  # fmt: skip
    ((_, wait_s),) = of(house, families.TRAINING_WAIT, at_ms=at_ms)
    assert wait_s == pytest.approx(60, abs=10)
    its = [trains, "acme/triage"]
    assert of(house, families.TRAINING_LOSS) == [[[*its, "learnt"], 0.5], [[*its, "heldout"], 2.0]]
    for family, value in (
        (families.TRAINING_DONE, 0.25),
        (families.TRAINING_LEFT, 12.0),
        (families.TRAINING_PACE, 90.0),
        (families.TRAINING_RATE, 1e-4),
        (families.TRAINING_NORM, 0.5),
    ):
        assert of(house, family) == [[its, value]]
    assert of(house, families.TRAINING_DONE, at_ms=at_ms + 10**7) == [], "its worker is gone"


def test_without_an_experiment_nothing_is_told_of_one(house: House) -> None:
    assert of(house, families.EXPERIMENT_UNITS) == of(house, families.EXPERIMENT_EFFECT) == []
