"""The analyst's process: it goes on where the last one stopped, and nothing is folded twice."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.experiments import asking
from gateway.experiments.asking import Analyst
from gateway.experiments.standing import Standing
from registry.children.asked import ChildGone, ChildSlow
from registry.db import now_ms
from registry.experiments.infos import ExperimentInfo
from tests.support.experiment_parts import Traffic, begun
from tests.support.stack import House

WITHIN_S = 60.0


@pytest.fixture
def traffic(house: House) -> Traffic:
    """Of an experiment whose units are mature at once; no gateway runs."""
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    ramp = [{"percent": 50, "min_units": 1_000}]
    guardrails = [{"metric": "latency_p95", "margin": 0.5, "relative": True}]
    info = begun(house.registry, metric={"name": "errors", "window_s": 0}, ramp=ramp, guardrails=guardrails)
    return Traffic(house.registry, info)


@pytest.fixture
def analyst() -> Iterator[Analyst]:
    found = Analyst()
    yield found
    found.close()


def question_of(traffic: Traffic, experiment: int, fence: int | None = None) -> dict[str, Any]:
    url = traffic.registry.db.url
    return {
        "experiment": experiment,
        "database_url": url,
        "fence": fence,
        "grace_ms": 0,
        "jumps": [],
        "at_ms": now_ms(),
    }


def asked(analyst: Analyst, traffic: Traffic, fence: int | None = None) -> dict[str, Any]:
    return analyst.ask(question_of(traffic, traffic.info.id, fence), WITHIN_S)


def now(traffic: Traffic) -> ExperimentInfo:
    return traffic.registry.experiments.get(traffic.info.id)


def standing(traffic: Traffic) -> Standing:
    written = now(traffic).standing
    assert written is not None
    return Standing.of(written["standing"])


def test_it_takes_in_values_and_says_where_it_stands(traffic: Traffic, analyst: Analyst) -> None:
    traffic.book(traffic.row("a", "1.0"), traffic.failed("b", "1.1"), traffic.row("c", "1.1"))
    assert asked(analyst, traffic) == {"folded": 0, "more": False}, "units are mature when they are stored"
    assert asked(analyst, traffic) == {"folded": 3, "more": False}
    found = standing(traffic)
    assert (found.units, found.folded) == ({"1.0": 1, "1.1": 2}, {"1.0": 1, "1.1": 2})
    assert (found.cursor.exposed, found.cursor.failed, found.cursor.folded) == (3, 1, 3)
    assert found.breakers["1.1"].candidate == 1
    assert found.primary["1.1"].word == "too_few_units"
    written = now(traffic)
    assert written.standing is not None
    assert written.standing["spent_nano"] == 2_000
    assert asked(analyst, traffic)["folded"] == 3
    assert now(traffic).standing_at_ms == written.standing_at_ms, "where nothing is new nothing is written"


def test_one_that_was_killed_is_followed_by_another_that_folds_nothing_twice(
    traffic: Traffic, analyst: Analyst
) -> None:
    traffic.book(*(traffic.row(f"unit {number}", "1.0") for number in range(20)))
    asked(analyst, traffic)
    first = analyst.child.process
    assert first is not None
    first.kill()
    with pytest.raises(ChildGone, match="ended with status -9"):
        asked(analyst, traffic)
    traffic.book(*(traffic.row(f"unit {number}", "1.1") for number in range(20, 30)))
    assert asked(analyst, traffic)["folded"] == 20
    assert analyst.child.process is not first
    assert asked(analyst, traffic)["folded"] == 30
    assert standing(traffic).units == {"1.0": 20, "1.1": 10}


def test_one_that_hangs_is_ended(traffic: Traffic, analyst: Analyst) -> None:
    asked(analyst, traffic)
    assert analyst.child.process is not None
    os.kill(analyst.child.process.pid, signal.SIGSTOP)
    with pytest.raises(ChildGone, match="has not answered within"):
        analyst.ask({"experiment": traffic.info.id}, 0.2)
    assert analyst.child.process is None
    traffic.book(traffic.row("a", "1.0"))
    assert asked(analyst, traffic)["folded"] == 0


def test_one_that_others_hold_up_while_it_starts_is_waited_for(
    traffic: Traffic, analyst: Analyst, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = "import sys, time; time.sleep(3); from gateway.experiments.analyst import main; sys.exit(main())"
    monkeypatch.setattr(analyst.child, "_command", (sys.executable, "-c", late))
    question = question_of(traffic, traffic.info.id)
    monkeypatch.setattr(asking, "STARTS_WITHIN_S", 0.2)
    with pytest.raises(ChildSlow, match=r"has not answered within 0\.2 s"):
        analyst.ask(question, WITHIN_S)
    monkeypatch.setattr(asking, "STARTS_WITHIN_S", WITHIN_S)
    assert analyst.ask(question, 2.9)["folded"] == 0


def test_one_of_a_controller_that_was_succeeded_changes_nothing(traffic: Traffic, analyst: Analyst) -> None:
    traffic.book(traffic.row("a", "1.0"))
    assert "was succeeded by" in asked(analyst, traffic, fence=7)["fault"]
    assert now(traffic).standing is None
    assert traffic.registry.experiments.analysis.waiting(traffic.info.id) == 1


def test_a_fault_is_told_and_the_next_question_is_answered(traffic: Traffic, analyst: Analyst) -> None:
    assert "there is no experiment '999'" in analyst.ask(question_of(traffic, 999), WITHIN_S)["fault"]
    assert asked(analyst, traffic)["folded"] == 0


@pytest.mark.starts_anew
def test_it_ends_with_its_parent(traffic: Traffic, analyst: Analyst) -> None:
    asked(analyst, traffic)
    process = analyst.child.process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()  # as the kernel does when the parent dies
    assert process.wait(WITHIN_S) == 0
    analyst.close()


def test_its_environment_has_none_of_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHYARD_STORE_KEY", "secret")
    found = asking._environment()
    assert not any(name.startswith("SWITCHYARD_") for name in found)
    assert found["OMP_NUM_THREADS"] == "1"


def test_an_arm_that_nobody_has_met_is_no_fault_of_the_others(traffic: Traffic, analyst: Analyst) -> None:
    traffic.book(*(traffic.row(f"unit {number}", "1.0") for number in range(600)))
    asked(analyst, traffic)
    assert asked(analyst, traffic)["folded"] == 600
    found = standing(traffic)
    assert found.ratio_alarms
    assert found.guardrails["latency_p95"]["1.1"].word == "too_few_units"


def test_enough_units_are_told_in_words(traffic: Traffic, analyst: Analyst) -> None:
    traffic.book(*(traffic.row(f"unit {number}", ("1.0", "1.1")[number % 2]) for number in range(1_000)))
    asked(analyst, traffic)
    assert asked(analyst, traffic)["folded"] == 1_000
    found = standing(traffic).primary["1.1"]
    assert found.word == "non_inferior"
    assert "1.1 is between" in found.text
    assert "(95 %, any time): not worse by more than 2 points" in found.text
