"""Units in an experiment: first seen, first noted; valued once; read as they mature; gone with age."""

from __future__ import annotations

import pytest

from registry.db import now_ms
from registry.experiments.infos import Decision, ExperimentInfo
from registry.experiments.units import Exposure, Mark
from tests.registry.conftest import Shop
from tests.registry.test_experiments import begun, decided


@pytest.fixture
def running(shop: Shop) -> ExperimentInfo:
    """An experiment that runs."""
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    return begun(shop)


def exposure(unit: str, at_ms: int, arm: str = "1.1") -> Exposure:
    return Exposure(unit, arm, 0.01, "header", at_ms, arm)


def test_a_unit_stays_as_it_was_first_noted(shop: Shop, running: ExperimentInfo) -> None:
    units = shop.registry.experiments.units
    first = exposure("a", 1)
    assert units.expose(running.id, [first, exposure("b", 2, "1.0")]) == 2
    assert units.expose(running.id, [exposure("a", 9, "1.0"), exposure("c", 3)]) == 1
    assert units.known(running.id, ["a", "nobody"])["a"].exposure == first
    assert units.count(running.id) == {"1.0": 1, "1.1": 2}
    assert units.expose(running.id, []) == 0


def test_units_are_read_in_the_order_in_which_they_mature(shop: Shop, running: ExperimentInfo) -> None:
    units = shop.registry.experiments.units
    units.expose(running.id, [exposure(unit, at_ms) for unit, at_ms in (("d", 7), ("b", 5), ("a", 7), ("c", 6))])
    page = units.page(running.id, None, limit=2)
    assert [unit.mark for unit in page] == [Mark(5, "b"), Mark(6, "c")]
    assert [unit.mark for unit in units.page(running.id, page[-1].mark)] == [Mark(7, "a"), Mark(7, "d")]
    assert [unit.mark for unit in units.page(running.id, Mark(5, "b"), served_before_ms=7)] == [Mark(6, "c")]


def test_a_unit_is_valued_once_and_censored_from_its_first_move_on(shop: Shop, running: ExperimentInfo) -> None:
    units = shop.registry.experiments.units
    units.expose(running.id, [exposure("a", 1), exposure("b", 2)])
    units.value(running.id, {"a": {"errors": 0.25, "cost": None}})
    units.value(running.id, {"a": {"errors": 1.0}, "nobody": {}})
    units.censor(running.id, {"b": 50})
    units.censor(running.id, {"b": 60, "a": 70})
    units.censor(running.id, {"b": 40})
    known = units.known(running.id, ["a", "b"])
    assert known["a"].metrics == {"errors": 0.25, "cost": None}
    assert known["a"].valued_at_ms is not None
    assert (known["b"].metrics, known["b"].valued_at_ms) == (None, None)
    assert (known["a"].censored_at_ms, known["b"].censored_at_ms) == (70, 40)


def test_units_go_when_their_experiment_ended_long_ago(shop: Shop, running: ExperimentInfo) -> None:
    units = shop.registry.experiments.units
    units.expose(running.id, [exposure("a", 1), exposure("b", 2)])
    assert units.sweep(now_ms() + 1) == 0, "it has not ended"
    shop.registry.experiments.decide(running.id, Decision("hold", "on record"))
    decided(shop, running, "stop")
    assert units.sweep(now_ms() - 60_000) == 0
    assert units.sweep(now_ms() + 1) == 2
    assert units.count(running.id) == {}
    assert len(shop.registry.experiments.decisions(running.id)) == 3, "the log stays"
