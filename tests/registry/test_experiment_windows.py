"""Windows of time as units: what a plan of them says and refuses, what a window is worth, and when one has failed."""

from __future__ import annotations

from typing import Any

import pytest

from registry.db import now_ms
from registry.errors import InvalidInput
from registry.experiments.failing import LASTS_S, LEAST_FAILED, REMEMBERED, Tallies
from registry.experiments.intake import Intake
from registry.experiments.plan import Plan
from registry.experiments.valuing import LEAST_TIMES, thinned
from registry.experiments.windows import has_settled, name_of
from registry.experiments.words import plan_said
from tests.registry.conftest import Shop
from tests.support.experiment_parts import ADAPTER, Traffic, begun

ONE: dict[str, Any] = {"treatments": ["1.1"], "unit": "window"}
WINDOW_MS = 60_000
GRACE_MS = 5_000


def request_id(at_ms: int, number: int = 0) -> str:
    """As a gateway makes it: when it came, and what nobody can guess."""
    return f"{at_ms:012x}{number:020x}"


def test_a_plan_of_windows_has_a_minute_each_a_tenth_of_which_settles_and_half_of_them_at_once() -> None:
    plan = Plan.of(ONE)
    assert (plan.window_s, plan.settle_s, plan.window_ms, plan.counted) == (60, 6.0, WINDOW_MS, "window")
    assert [step.percent for step in plan.ramp] == [50, 100]
    assert Plan.of(plan.document) == plan
    assert Plan.of({**ONE, "window_s": 300}).settle_s == 30
    other = Plan.of({"treatments": ["1.1"]})
    assert (other.window_s, other.settle_s, other.window_ms, other.counted) == (None, None, 0, "unit")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({**ONE, "window_s": 4}, "window_s is 4: Input should be greater than or equal to 5"),
        ({**ONE, "window_s": 3_601}, "window_s is 3601: Input should be less than or equal to 3600"),
        ({**ONE, "window_s": "60"}, "window_s is '60': Input should be a valid integer"),
        ({**ONE, "settle_s": -1}, "settle_s is -1: Input should be greater than or equal to 0"),
        ({**ONE, "settle_s": 60}, "settle_s is 60, and a window has 60 s; what settles must be shorter"),
        ({**ONE, "window_s": 900}, "metric.window_s is 600, and a unit's window .* has 900 s.*write 900 or more"),
        ({"treatments": ["1.1"], "window_s": 60}, 'window_s is 60, and unit is "conversation"; say unit = "window"'),
        ({"treatments": ["1.1"], "unit": "request", "settle_s": 1.0}, 'settle_s is 1, and unit is "request"'),
    ],
)
def test_windows_that_cannot_be_are_refused_by_field_value_and_remedy(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        Plan.of(given)
    assert refused.value.param


def test_a_dry_run_says_that_conversations_do_not_stay_and_what_windows_are_not_for() -> None:
    said = "\n".join(plan_said(Plan.of({**ONE, "control": "1.0"}), "acme/triage", "production"))
    assert "ramp: 50 % (1 h and 100 windows) → 100 % (10 min)" in said
    assert "windows of 1 min: all that comes in one has one arm, drawn anew for each; its first 6 s count for" in said
    assert "conversations and people go from arm to arm" in said
    assert "or 100000 windows" in said
    assert "note:" not in said
    asked = {**ONE, "control": "1.0", "metric": {"name": "accepted", "direction": "higher"}}
    assert "note: accepted is said or found of answers" in "\n".join(plan_said(Plan.of(asked), "acme/triage", "p"))


def test_a_request_is_of_the_window_of_the_clock_in_which_it_came_on_every_machine() -> None:
    came_ms = 1_795_953_723_456
    assert name_of(request_id(came_ms), WINDOW_MS) == "window:29932562"
    begins_ms = 29_932_562 * WINDOW_MS
    names = [name_of(request_id(begins_ms + more), WINDOW_MS) for more in (-1, 0, WINDOW_MS - 1, WINDOW_MS)]
    assert names == ["window:29932561", "window:29932562", "window:29932562", "window:29932563"]
    settled = [has_settled(request_id(begins_ms + more), WINDOW_MS, 6_000) for more in (0, 5_999, 6_000, 59_999)]
    assert settled == [False, False, True, True]


@pytest.fixture
def traffic(shop: Shop) -> Traffic:
    """Of an experiment with windows of a minute, which are valued when one more has passed."""
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    metric = {"name": "latency_p95", "margin": 0.0, "window_s": 60}
    return Traffic(shop.registry, begun(shop.registry, unit="window", metric=metric))


def came(traffic: Traffic, window: int, after_ms: int, took_ms: int, arm: str = "1.1") -> dict[str, Any]:
    """A request of a window, so long after it has begun."""
    at_ms = window * WINDOW_MS + after_ms
    own = request_id(at_ms, traffic.number)
    news = {"request_id": own, "attempt_id": f"{own}-1", "unit_source": "window", "finished_at_ms": at_ms + took_ms}
    return traffic.row(f"window:{window}", arm, started_at_ms=at_ms, **news)


def values(traffic: Traffic) -> list[dict[str, float]]:
    """Of all windows that are mature, in their order."""
    books = traffic.registry.experiments.analysis
    found = books.increment(traffic.info.id, GRACE_MS)
    taken = Intake(found.known, {}, exposed=0, failed=0, most_units=100).take(found.fed)
    books.keep(found, taken, [], {}, fence=None)
    found = books.increment(traffic.info.id, GRACE_MS)
    worth = books.values(found, found.mature)
    return [worth[unit.unit_hash] for unit in found.mature]


def test_a_window_is_worth_the_p95_of_what_came_after_it_had_settled(traffic: Traffic) -> None:
    first = now_ms() // WINDOW_MS - 5
    settling = [came(traffic, first, 5_999, 90_000) for _ in range(10)]
    times = [came(traffic, first, 6_000 + 500 * number, 100 + number) for number in range(100)]
    few = [came(traffic, first + 1, 30_000, 70, arm="1.0") for _ in range(LEAST_TIMES - 1)]
    traffic.book(*settling, *times, *few)
    one, other = values(traffic)
    assert (one["latency_p95"], one["latency_ms"], one["requests"]) == (194.0, 149.5, 100.0)
    assert one["ttft_p95"] == 10.0
    assert "latency_p95" not in other, "of fewer requests there is no P95"
    assert other["latency_ms"] == 70.0


def test_a_window_in_which_nothing_came_after_it_had_settled_is_missing(traffic: Traffic) -> None:
    traffic.book(came(traffic, now_ms() // WINDOW_MS - 5, 10, 70))
    assert values(traffic) == [{}]


def test_of_too_many_requests_some_stand_for_all_with_all_of_their_attempts() -> None:
    attempts = [f"{request:04}-{number}" for request in range(1_000) for number in (1, 2)]
    kept = thinned(attempts, 100)
    assert len(kept) == 200
    assert kept[:4] == ["0000-1", "0000-2", "0010-1", "0010-2"]
    assert thinned(attempts, 1_000) == attempts


def fed_with(traffic: Traffic, rows: list[dict[str, Any]]) -> Any:
    traffic.book(*rows)
    return traffic.registry.experiments.analysis.increment(traffic.info.id, GRACE_MS).fed


def test_a_window_fails_when_most_of_its_requests_do_for_a_while_and_by_no_moment_of_failures(
    traffic: Traffic,
) -> None:
    window, lost = now_ms() // WINDOW_MS - 5, {"outcome": "engine_failed", "ttft_ms": None}
    moment = [came(traffic, window, 1_000 + number, 5) | lost for number in range(50)]
    later = [came(traffic, window, 1_000 + round(1_000 * LASTS_S), 5) | lost]
    tallies = Tallies(WINDOW_MS, {})
    fed = fed_with(traffic, moment + later)
    assert [tallies.fails(one) for one in fed] == [False] * 50 + [True]
    assert not any(map(Tallies(WINDOW_MS, {}).fails, fed[: LEAST_FAILED - 2] + fed[-1:])), "they are too few"
    again = Tallies(WINDOW_MS, Tallies(WINDOW_MS, tallies.known).known)
    assert again.fails(fed[-1]), "it goes on from what was counted"


def test_a_window_that_answers_more_than_it_fails_has_not_failed_and_few_are_remembered(traffic: Traffic) -> None:
    window, lost = now_ms() // WINDOW_MS - 20, {"outcome": "engine_failed", "ttft_ms": None}
    rows = []
    for number in range(60):
        rows += [came(traffic, window, 500 * number, 5), came(traffic, window, 500 * number, 5)]
        rows += [came(traffic, window, 500 * number, 5) | lost]
    tallies = Tallies(WINDOW_MS, {})
    assert not any(map(tallies.fails, fed_with(traffic, rows)))
    others = [came(traffic, window + number, 0, 5) for number in range(1, 15)]
    assert not any(map(tallies.fails, fed_with(traffic, others)))
    assert len(tallies.known) == REMEMBERED


def test_past_traffic_is_told_in_windows(traffic: Traffic) -> None:
    first = now_ms() // WINDOW_MS - 5
    traffic.book(*(came(traffic, first + number % 2, 7_000 + number, 100 * (1 + number % 2)) for number in range(60)))
    past = traffic.registry.experiments.traffic.of(ADAPTER, WINDOW_MS)
    assert (past.requests, past.units, past.exact) == (60, 2, True)
    assert past.values["latency_p95"] == (150.0, 2_500.0)
