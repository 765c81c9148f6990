"""What comes next of an experiment, in words, before anything is known of it."""

from __future__ import annotations

from gateway.experiments.outlook import outlook_of
from registry.db import now_ms
from registry.experiments.infos import Decision
from tests.support.experiment_parts import Traffic, begun
from tests.support.stack import House


def test_one_that_runs_waits_for_its_first_look_and_one_that_is_held_for_a_person(house: House) -> None:
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    experiments = house.registry.experiments
    info = begun(house.registry)
    assert outlook_of(house.registry, info).following == (
        "nothing is decided before the first look at what its arms have met"
    )
    experiments.decide(info.id, Decision("pause", "lunch"))
    held = outlook_of(house.registry, experiments.get(info.id))
    assert held.following == "nothing is decided before somebody says so"


def test_one_whose_attempts_wait_for_long_says_since_when_and_where_to_look(house: House) -> None:
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    traffic = Traffic(house.registry, begun(house.registry))
    first_ms = now_ms() - 600_000
    traffic.book(traffic.row("a", "1.0", started_at_ms=first_ms), traffic.row("b", "1.0"))
    told = outlook_of(house.registry, traffic.info)
    assert told.late_since_ms == first_ms + 100, "when the first of them had ended"
    assert told.late is not None
    assert "switchyard fleet" in told.late
    assert told.following == told.late, "nothing else comes next"
