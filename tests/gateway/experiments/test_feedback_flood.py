"""Feedback that comes in floods: one unit counts once, whatever it says how often, and the analysis stays small."""

from __future__ import annotations

import json

import pytest

from gateway.experiments.analyst import step
from gateway.experiments.deciding import Decider
from gateway.experiments.replay import Replay
from gateway.experiments.standing import Standing
from registry.db import now_ms
from registry.experiments.export import StoredUnit, export, read_export
from registry.experiments.valuing import MOST_SAID
from registry.outcomes import store
from registry.outcomes.said import NewOutcome, Said, Subject
from tests.support.experiment_parts import Traffic, begun, unit_hash
from tests.support.stack import House

MANY = 3 * MOST_SAID
PLENTY = 1_000_000


@pytest.fixture
def traffic(house: House) -> Traffic:
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    metric = {"name": "solved", "direction": "higher", "window_s": 3_600}
    return Traffic(house.registry, begun(house.registry, metric=metric, ramp=[{"percent": 50}], guardrails=[]))


def say(traffic: Traffic, unit: str, *said: Said) -> None:
    """With a key each, so that none is taken for another."""
    subject = Subject(traffic.info.adapter_id, None, traffic.info.splits[-1], None, unit_hash(unit))
    pieces = [NewOutcome(subject, one, f"{unit}-{number}") for number, one in enumerate(said)]
    traffic.registry.outcomes.give("acme", pieces, PLENTY)


def stored(traffic: Traffic) -> dict[str, StoredUnit]:
    found = read_export(json.dumps(line) for line in export(traffic.registry.db, str(traffic.info.id)))
    return {unit.state.unit_hash: unit for unit in found.units}


def test_a_unit_that_says_too_much_of_everything_counts_once(
    house: House, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_ms, arms = now_ms() - 2 * 3_600_000, ("1.0", "1.1")
    monkeypatch.setattr(store, "now_ms", lambda: began_ms + 1_000)
    traffic.book(*(traffic.row(f"unit {n}", arms[n % 2], started_at_ms=began_ms) for n in range(300)))
    say(traffic, "unit 0", *(Said("solved", "number", float(n >= MOST_SAID)) for n in range(MANY)))
    say(traffic, "unit 1", *(Said(f"metric-{n}", "number", 1.0) for n in range(MANY)))
    say(traffic, "unit 2", Said("solved", "number", 1e15), Said("solved", "number", -1e15))
    say(traffic, "unit 3", Said("solved", "number", 1e15))
    for number in range(4, 300):
        say(traffic, f"unit {number}", Said("solved", "boolean", float(number % 3 == 0)))
    lease = house.registry.leadership.acquire("test", "here")
    assert lease is not None
    for _ in range(3):
        step(house.registry.experiments.analysis, traffic.info.id, lease.token, 0)
    Decider(house.registry, lease.token).decide(traffic.info.id)
    values = {number: stored(traffic)[unit_hash(f"unit {number}")].values for number in range(4)}
    assert values[0]["solved"] == 0.0, "the first ones count"
    assert "solved" not in values[1]
    assert len(values[1]) < 10, "metrics that no plan names are nobody's values"
    assert (values[2]["solved"], values[3]["solved"]) == (0.0, 1e15)
    written = house.registry.experiments.get(traffic.info.id).standing
    assert written is not None
    assert Standing.of(written["standing"]).primary["1.1"].word == "undecided", "one unit's value decides nothing"
    found = read_export(json.dumps(line) for line in export(house.registry.db, str(traffic.info.id)))
    (again,) = Replay(found.plan, found.shares, found.units).run(found.log)
    assert again.differences == ()
