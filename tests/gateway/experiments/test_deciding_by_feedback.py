"""What users say decides: a version that they like less is rolled back, and one that they like better promoted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from gateway.splits.assignment import BUCKETS, hash_of
from registry.experiments.infos import ExperimentInfo
from tests.support.assignment import bucket_of
from tests.support.deciding_stack import TRIAGE, begun, deciding_stack, pointed_at
from tests.support.stack import Stack
from tests.support.waiting import wait_until

UNITS = count()
PLAN: dict[str, Any] = {
    "ramp": [{"percent": 50, "dwell_s": 0, "min_units": 20}, {"percent": 100, "dwell_s": 0, "min_units": 0}],
    "metric": {"name": "solved", "direction": "higher", "margin": 0.05, "window_s": 0},
    "guardrails": [],
}
EACH = 50
"""Units that ask at a time."""
Opinion = Callable[[str], bool]


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with deciding_stack(tmp_path_factory.mktemp("by-feedback")) as stack:
        yield stack


def decided(stack: Stack, opinion: Opinion) -> ExperimentInfo:
    """Users come with an opinion of each arm, which they give by the unit that they are, and ask."""
    info = begun(stack, PLAN)
    registry = stack.house.registry
    salt = registry.splits.history(TRIAGE)[-1].salt.encode()

    def asked_or_done() -> ExperimentInfo | None:
        units = [f"user {next(UNITS)}" for _ in range(EACH)]
        arms = ["1.0" if bucket_of(hash_of(salt, unit)) < BUCKETS // 2 else "1.1" for unit in units]
        pieces = [
            {"unit": unit, "model": "acme/triage", "metric": "solved", "value": opinion(arm)}
            for unit, arm in zip(units, arms, strict=True)
        ]
        stack.post("/v1/feedback", {"feedback": pieces}).raise_for_status()
        for unit in units:
            stack.chat("acme/triage", headers={"X-Switchyard-Unit": unit}).raise_for_status()
        found = registry.experiments.get(info.id)
        return found if found.ended_at_ms is not None and not found.moving else None

    return wait_until("a decision", asked_or_done)


def test_what_users_say_rolls_a_worse_version_back_and_promotes_a_better_one(stack: Stack) -> None:
    worse = decided(stack, lambda arm: arm == "1.0")
    assert worse.state == "rolled_back"
    assert pointed_at(stack) == "1.0"
    last = stack.house.registry.experiments.decisions(worse.id)[-1]
    assert (last.kind, last.figures["code"]) == ("rollback", "worse")
    assert " points (95 %, any time)" in last.reason
    better = decided(stack, lambda arm: arm == "1.1")
    assert better.state == "promoted"
    assert pointed_at(stack) == "1.1"
