"""What comes of attempts: units that are exposed once, valued once, moved and failed; nothing is lost or read twice."""

from __future__ import annotations

import pytest

from registry.db import Database, now_ms
from registry.errors import Conflict
from registry.experiments.analysis import AnalysisBooks, Increment
from registry.experiments.infos import Decision
from registry.experiments.intake import Counts, Intake, Taken
from registry.experiments.rows import FEED
from registry.experiments.units import UnitState, units_of
from registry.ledger.rows import USAGE
from tests.registry.conftest import Shop
from tests.support.experiment_parts import Traffic, begun, carried_out, unit_hash
from tests.support.usage_rows import usage_row

GRACE_MS = 5_000
NO_WINDOW = {"name": "errors", "window_s": 0}


@pytest.fixture
def traffic(shop: Shop) -> Traffic:
    """Of an experiment that runs, whose units are mature at once."""
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    return Traffic(shop.registry, begun(shop.registry, metric=NO_WINDOW))


def books(traffic: Traffic) -> AnalysisBooks:
    return traffic.registry.experiments.analysis


def increment(traffic: Traffic) -> Increment:
    return books(traffic).increment(traffic.info.id, GRACE_MS)


def taken(found: Increment) -> Taken:
    """What comes of it, after everything that was stored before."""
    standing = found.info.standing or {"exposed": 0, "failed": 0}
    intake = Intake(found.known, {}, exposed=standing["exposed"], failed=standing["failed"], most_units=100)
    return intake.take(found.fed)


def keep(traffic: Traffic, found: Increment, fence: int | None = None) -> Taken:
    """Store what comes of an increment, values too."""
    made = taken(found)
    changed = {unit.unit_hash: unit for unit in made.changed}
    mature = [changed.get(unit.unit_hash, unit) for unit in found.mature]
    values = books(traffic).values(found, mature)
    before = (found.info.standing or {}).get("folded", 0)
    folded = [
        {"of": unit.unit_hash, "folded": before + number, "worth": values[unit.unit_hash]}
        for number, unit in enumerate(mature, 1)
    ]
    exposed = max([unit.exposed_seq for unit in made.new], default=(found.info.standing or {}).get("exposed", 0))
    failures = [unit.failed_seq or 0 for unit in (*made.new, *made.changed)]
    failed = max([*failures, (found.info.standing or {}).get("failed", 0)])
    standing = {"exposed": exposed, "failed": failed, "folded": before + len(mature), "values": values}
    books(traffic).keep(found, made, folded, standing, fence=fence)
    return made


def units(traffic: Traffic) -> dict[str, UnitState]:
    """Those of a, b and c that there are."""
    with traffic.registry.db.read() as session:
        known = units_of(session, traffic.info.id, [unit_hash(unit) for unit in "abc"])
    return {unit: known[unit_hash(unit)] for unit in "abc" if unit_hash(unit) in known}


def test_attempts_of_experiments_wait_once_and_others_never(traffic: Traffic) -> None:
    served, copy = traffic.row("a", "1.1"), traffic.row("b", "1.0", shadow=True)
    traffic.book(served, copy, usage_row("plain"), usage_row("other", split_id=999, unit_hash="0" * 32, arm="1.0"))
    traffic.book(served)
    found = increment(traffic)
    assert [one.unit_hash for one in found.fed] == [unit_hash("a")]
    keep(traffic, found)
    assert books(traffic).waiting(traffic.info.id) == 0
    assert increment(traffic).fed == []


def test_what_is_shipped_late_or_out_of_order_is_neither_lost_nor_read_twice(traffic: Traffic) -> None:
    first, second, third = (traffic.row(unit, "1.0") for unit in "abc")
    traffic.book(third)
    keep(traffic, increment(traffic))
    traffic.book(first, second, third)
    assert sorted(one.unit_hash for one in increment(traffic).fed) == sorted(map(unit_hash, "ab"))
    keep(traffic, increment(traffic))
    assert {unit: state.exposed_seq for unit, state in units(traffic).items()} == {"c": 1, "a": 2, "b": 3}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_attempt_whose_transaction_commits_after_later_ones_is_taken_in_then(traffic: Traffic) -> None:
    slow = Database(traffic.registry.db.url)
    with slow.engine.connect() as connection:
        connection.execute(USAGE.insert().values(traffic.row("a", "1.0", segment="usage-other-000001")))
        traffic.book(traffic.row("b", "1.0"))
        keep(traffic, increment(traffic))
        assert [*units(traffic)] == ["b"]
        connection.commit()
    slow.close()
    keep(traffic, increment(traffic))
    assert [*units(traffic)] == ["a", "b"]


def test_an_increment_is_kept_whole_once_and_by_the_leader_alone(traffic: Traffic) -> None:
    traffic.book(traffic.row("a", "1.1"))
    one, other = increment(traffic), increment(traffic)
    with pytest.raises(Conflict, match="was succeeded by"):
        keep(traffic, one, fence=99)
    assert (units(traffic), increment(traffic).fed) == ({}, one.fed), "nothing of it was kept"
    keep(traffic, one)
    with pytest.raises(Conflict, match="taken in by somebody else"):
        keep(traffic, other)
    idle, late = increment(traffic), increment(traffic)
    keep(traffic, idle)
    with pytest.raises(Conflict, match="analysed by somebody else"):
        keep(traffic, late)


def test_a_unit_keeps_the_arm_that_it_met_first_and_is_censored_when_it_is_moved(traffic: Traffic) -> None:
    began_ms = now_ms() - 60_000
    traffic.book(traffic.row("a", "1.0", started_at_ms=began_ms), traffic.row("b", "1.1", started_at_ms=began_ms))
    keep(traffic, increment(traffic))
    traffic.book(traffic.row("a", "1.1", started_at_ms=began_ms + 9_000))
    made = keep(traffic, increment(traffic))
    state = units(traffic)["a"]
    assert (state.arm, state.propensity, state.censored_at_ms) == ("1.0", 0.99, began_ms + 9_000)
    assert units(traffic)["b"].censored_at_ms is None
    assert made.counts["1.0"].moved == 1


def test_another_arm_that_answers_in_its_place_changes_no_assignment(traffic: Traffic) -> None:
    traffic.book(traffic.row("a", "1.1", served_model="acme/triage@1.0"), traffic.row("b", "1.1", served_model="tiny"))
    made = keep(traffic, increment(traffic))
    assert {unit: (state.arm, state.served_arm, state.fallback) for unit, state in units(traffic).items()} == {
        "a": ("1.1", "1.0", True),
        "b": ("1.1", "base", True),
    }
    assert made.counts["1.1"].fallbacks == 2


def test_a_unit_is_exposed_by_its_first_byte_or_its_failure_and_by_nothing_less(traffic: Traffic) -> None:
    gone = traffic.row("a", "1.1", outcome="client_aborted", ttft_ms=None)
    refused = traffic.row("b", "1.1", outcome="rejected", ttft_ms=None)
    traffic.book(gone, refused, traffic.failed("c", "1.1"), traffic.failed("c", "1.1"))
    made = keep(traffic, increment(traffic))
    assert [*units(traffic)] == ["c"]
    assert (units(traffic)["c"].failed_seq, units(traffic)["c"].failed_arm) == (1, "1.1")
    assert made.counts["1.1"] == Counts(attempts=4, failed_attempts=2, cost_nano=4_000, units=1, failed_units=1)


def test_a_unit_is_valued_once_by_what_came_within_its_window(traffic: Traffic) -> None:
    began_ms = now_ms() - 60_000
    inside = traffic.row("a", "1.0", started_at_ms=began_ms, completion_tokens=7)
    traffic.book(inside, traffic.row("a", "1.0", started_at_ms=began_ms + 30_000, completion_tokens=900))
    keep(traffic, increment(traffic))
    keep(traffic, increment(traffic))
    assert units(traffic)["a"].folded_seq == 1
    standing = traffic.registry.experiments.get(traffic.info.id).standing
    assert standing is not None
    assert standing["values"][unit_hash("a")] == {
        "errors": 0.0,
        "requests": 1.0,
        "latency_ms": 100.0,
        "ttft_ms": 10.0,
        "prompt_tokens": 10.0,
        "completion_tokens": 7.0,
        "cost": 1e-06,
        "cached_share": 0.4,
    }
    assert increment(traffic).mature == []


def test_units_are_valued_in_the_order_in_which_they_were_served(traffic: Traffic) -> None:
    ends_ms = now_ms() - GRACE_MS - 1_000
    traffic.book(*(traffic.row(unit, "1.0", started_at_ms=ends_ms - 10 * place) for place, unit in enumerate("abc")))
    traffic.book(traffic.row("d", "1.0", started_at_ms=now_ms()))
    keep(traffic, increment(traffic))
    found = increment(traffic)
    assert [unit.unit_hash for unit in found.mature] == [unit_hash(unit) for unit in "cba"], "d has its grace"


def test_a_request_that_another_engine_answered_has_not_failed(traffic: Traffic) -> None:
    first, second = traffic.failed("a", "1.0"), traffic.row("a", "1.0")
    traffic.book(first | {"request_id": "r"}, second | {"request_id": "r", "started_at_ms": first["started_at_ms"]})
    keep(traffic, increment(traffic))
    found = increment(traffic)
    assert books(traffic).values(found, found.mature)[unit_hash("a")]["errors"] == 0.0


def test_what_a_moved_unit_did_afterwards_is_not_in_its_value(traffic: Traffic) -> None:
    began_ms = now_ms() - 60_000
    state = UnitState(unit_hash("a"), "1.0", 0.9, "header", traffic.info.splits[-1], began_ms, "1.0", 1)
    traffic.book(traffic.row("a", "1.0", started_at_ms=began_ms), traffic.failed("a", "1.1", started_at_ms=began_ms))
    moved = UnitState(**{**{name: getattr(state, name) for name in UnitState.__slots__}, "censored_at_ms": began_ms})
    assert books(traffic).values(increment(traffic), [moved])[unit_hash("a")] == {}
    assert books(traffic).values(increment(traffic), [state])[unit_hash("a")]["requests"] == 2.0


def test_beyond_its_budget_nobody_new_is_in_the_experiment(traffic: Traffic) -> None:
    traffic.book(*(traffic.row(unit, "1.0") for unit in "abc"))
    found = increment(traffic)
    made = Intake({}, {}, exposed=0, failed=0, most_units=2).take(found.fed)
    assert len(made.new) == 2
    assert made.counts["1.0"].attempts == 3


def test_what_comes_in_of_an_experiment_that_has_ended_is_forgotten(traffic: Traffic) -> None:
    traffic.book(traffic.row("a", "1.0"))
    assert books(traffic).forget_ended() == 0
    traffic.registry.experiments.decide(traffic.info.id, Decision("stop", "enough"))
    carried_out(traffic.registry, traffic.info.id)
    traffic.book(traffic.row("b", "1.0"))
    assert books(traffic).forget_ended() == 2
    assert books(traffic).waiting(traffic.info.id) == 0


def test_units_go_when_their_experiment_ended_long_ago(traffic: Traffic) -> None:
    traffic.book(traffic.row("a", "1.0"), traffic.row("b", "1.1"))
    keep(traffic, increment(traffic))
    own, experiments = traffic.registry.experiments.units, traffic.registry.experiments
    assert own.count(traffic.info.id) == {"1.0": 1, "1.1": 1}
    assert own.sweep(now_ms() + 1) == 0, "it has not ended"
    experiments.decide(traffic.info.id, Decision("stop", "enough"))
    carried_out(traffic.registry, traffic.info.id)
    assert own.sweep(now_ms() - 60_000) == 0
    assert own.sweep(now_ms() + 1) == 2
    assert own.count(traffic.info.id) == {}
    assert len(experiments.decisions(traffic.info.id)) == 2, "the log stays"


def test_the_feed_holds_no_more_than_what_waits(traffic: Traffic) -> None:
    traffic.book(*(traffic.row(f"unit-{number}", "1.0") for number in range(700)))
    traffic.book(traffic.row("nobody", "1.0", outcome="client_aborted", ttft_ms=None))
    keep(traffic, increment(traffic))
    assert books(traffic).waiting(traffic.info.id) == 0
    keep(traffic, increment(traffic))
    traffic.book(traffic.row("unit-1", "1.0"))
    keep(traffic, increment(traffic))
    with traffic.registry.db.read() as session:
        assert session.execute(FEED.select()).all() == []


def test_an_experiment_is_under_way_until_it_has_ended(traffic: Traffic) -> None:
    experiments = traffic.registry.experiments

    assert [info.id for info in experiments.under_way()] == [traffic.info.id]
    experiments.decide(traffic.info.id, Decision("pause", "lunch"))
    assert [info.state for info in experiments.under_way()] == ["paused"]
    experiments.decide(traffic.info.id, Decision("stop", "enough"))
    carried_out(traffic.registry, traffic.info.id)
    assert experiments.under_way() == []
