"""A whole gateway whose leader looks at experiments all the time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.fleet.duties import experiments as duty
from registry.experiments.infos import ExperimentInfo
from registry.experiments.plan import Plan
from registry.names import parse_ref, parse_whole_adapter
from tests.support.stack import Stack, open_house, run_stack
from tests.support.waiting import wait_until

TRIAGE = parse_whole_adapter("acme/triage")


@contextmanager
def deciding_stack(folder: Path) -> Iterator[Stack]:
    """acme/triage in two versions, the first in production."""
    with pytest.MonkeyPatch.context() as patch, open_house(folder) as house:
        patch.setattr(duty, "LOOK_S", 0.05)
        patch.setattr(duty, "GRACE_MS", 0)
        house.tenant("acme")
        for _ in range(2):
            house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house) as stack:
            stack.wait_resident("acme/triage@1.0")
            yield stack


def begun(stack: Stack, plan: Mapping[str, Any]) -> ExperimentInfo:
    """An experiment of 1.1 against 1.0 whose first step routes."""
    experiments = stack.house.registry.experiments
    made = experiments.create(TRIAGE, Plan.of({"treatments": ["1.1"], **plan}), actor="test")

    def runs() -> ExperimentInfo | None:
        info = experiments.get(made.id)
        return info if info.state == "running" and not info.moving else None

    found = wait_until("the experiment to run", runs)
    stack.wait_revision()
    return found


def pointed_at(stack: Stack) -> str:
    """The version in production."""
    return str(stack.house.registry.adapters.get(parse_ref("acme/triage@production")).version)
