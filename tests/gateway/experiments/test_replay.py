"""Decisions that were logged come out the same from the stored units, on whatever machine they are made again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.experiments.analyst import step
from gateway.experiments.deciding import Decider
from gateway.experiments.replay import Replay
from registry.errors import InvalidInput
from registry.experiments.export import Exported, export, read_export
from registry.experiments.log import faults_in
from registry.fleet.leadership import Lease
from tests.support.experiment_parts import Traffic, begun, carried_out
from tests.support.stack import House


@pytest.fixture
def traffic(house: House) -> Traffic:
    """Of an experiment with two steps, whose units are mature at once."""
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    ramp = [{"percent": percent, "dwell_s": 0, "min_units": 5} for percent in (50, 80)]
    info = begun(house.registry, metric={"name": "accepted", "direction": "higher", "window_s": 0}, ramp=ramp)
    return Traffic(house.registry, info)


@pytest.fixture
def lease(house: House) -> Lease:
    found = house.registry.leadership.acquire("test", "here")
    assert found is not None
    return found


def look(traffic: Traffic, lease: Lease) -> None:
    """As the leader does it, and its swap at once."""
    registry, info = traffic.registry, traffic.info
    step(registry.experiments.analysis, info.id, lease.token, 0)
    Decider(registry, lease.token).decide(info.id)
    traffic.info = carried_out(registry, info.id)


@pytest.fixture
def rolled_back(traffic: Traffic, lease: Lease) -> Traffic:
    """It was ramped, and then its treatment broke."""
    arms = ("1.0", "1.1")
    for begins in (0, 40):
        traffic.book(*(traffic.row(f"unit {begins + one}", arms[one % 2]) for one in range(40)))
        look(traffic, lease)
        look(traffic, lease)
    traffic.book(*(traffic.failed(f"broken {number}", "1.1") for number in range(60)))
    look(traffic, lease)
    assert traffic.info.state == "rolled_back"
    return traffic


def exported(traffic: Traffic) -> list[str]:
    return [json.dumps(line) for line in export(traffic.registry.db, str(traffic.info.id))]


def replayed(found: Exported) -> list[tuple[str, tuple[str, ...]]]:
    run = Replay(found.plan, found.shares, found.units).run(found.log)
    return [(one.line.kind, one.differences) for one in run]


def test_the_log_is_made_again_bit_for_bit(rolled_back: Traffic) -> None:
    found = read_export(exported(rolled_back))
    assert found.name == "acme/triage:experiment-1"
    logged = [line.kind for line in rolled_back.registry.experiments.decisions(rolled_back.info.id)]
    assert [kind for kind in logged if kind != "hold"] == ["start", "ramp", "rollback"]
    assert replayed(found) == [(kind, ()) for kind in logged[1:]]


def test_a_unit_that_was_changed_afterwards_is_found(rolled_back: Traffic) -> None:
    lines = exported(rolled_back)
    at = next(number for number, line in enumerate(lines) if '"failed_seq": 7' in line)
    changed = json.loads(lines[at])
    changed["unit"]["failed_arm"] = "1.0"
    lines[at] = json.dumps(changed)
    kinds = replayed(read_export(lines))
    assert [kind for kind, differences in kinds if differences] == ["rollback"]
    assert any("its inputs are sha256:" in one for one in kinds[-1][1])
    assert any("figures.standing.breakers.1.1" in one for one in kinds[-1][1])


def changed(lines: list[str], at: int, *path: str, to: Any) -> list[str]:
    """The same with another value in one line."""
    document = json.loads(lines[at])
    *way, last = path
    inner = document
    for name in way:
        inner = inner[name]
    inner[last] = to
    return [*lines[:at], json.dumps(document), *lines[at:][1:]]


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("actor",), "somebody else"),
        (("weights", "1.1"), 1),
        (("swap_id",), None),
        (("figures", "course", "skew"), "x"),
    ],
)
def test_a_line_of_the_log_that_was_changed_is_found(rolled_back: Traffic, path: tuple[str, ...], to: Any) -> None:
    lines = exported(rolled_back)
    assert list(faults_in(read_export(lines).log)) == []
    last = read_export(changed(lines, len(lines) - 1, "decision", *path, to=to)).log
    assert list(faults_in(last)) == [f"decision {len(last)} is not what was written: its digest is another one"]
    without = [line for number, line in enumerate(lines) if number != len(lines) - 2]
    assert list(faults_in(read_export(without).log)) == [f"decision {len(last) - 1} is missing"]


@pytest.mark.parametrize(
    ("path", "to"),
    [(("figures", "standing", "cursor"), 3), (("figures", "course"), None), (("figures", "standing"), "x")],
)
def test_a_log_of_nonsense_comes_out_otherwise_and_breaks_nothing(
    rolled_back: Traffic, path: tuple[str, ...], to: Any
) -> None:
    lines = exported(rolled_back)
    found = replayed(read_export(changed(lines, len(lines) - 1, "decision", *path, to=to)))
    assert "it cannot be made again" in found[-1][1][0]


def test_units_whose_places_are_no_numbers_are_no_export(rolled_back: Traffic) -> None:
    with pytest.raises(InvalidInput, match="a unit's place is 'x', and no whole number"):
        read_export(changed(exported(rolled_back), 1, "unit", "exposed_seq", to="x"))


def test_a_unit_that_is_gone_is_found(rolled_back: Traffic) -> None:
    lines = [line for line in exported(rolled_back) if '"exposed_seq": 3,' not in line]
    assert any("units had been exposed, and" in one for one in replayed(read_export(lines))[-1][1])


def test_a_figure_that_was_changed_in_the_log_is_found(rolled_back: Traffic) -> None:
    lines = exported(rolled_back)
    changed = json.loads(lines[-1])
    changed["decision"]["figures"]["standing"]["units"]["1.1"] += 1
    lines[-1] = json.dumps(changed)
    (difference,) = replayed(read_export(lines))[-1][1]
    assert difference.startswith("figures.standing.units.1.1 comes out as")


@pytest.mark.parametrize("text", ["", "no json", '{"format": 9}', '{"format": 1, "plan": {}}', "[1]"])
def test_what_is_no_export_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="file is no export of an experiment"):
        read_export([text])
