"""A whole gateway is killed in the midst of a decision: its successor ends what was begun, once."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.experiments.replay import Replay
from registry.experiments.export import export, read_export
from registry.experiments.infos import ExperimentInfo
from registry.experiments.plan import Plan
from registry.swaps.infos import DONE, DRAINING, FLIPPED, PRELOADING, REQUESTED, VERIFIED
from tests.bars.support.gateways import GatewayProcess, gateway_process
from tests.support.experiment_parts import ADAPTER, Traffic
from tests.support.postgres_server import postgres_server
from tests.support.stack import MESSAGES, House, open_house, run_engines
from tests.support.waiting import DEADLINE_S, wait_until

STAGES = (REQUESTED, PRELOADING, VERIFIED, FLIPPED, DRAINING, DONE)
PLAN: dict[str, Any] = {
    "treatments": ["1.1"],
    "ramp": [{"percent": 20, "dwell_s": 3_600, "min_units": 1_000}],
    "metric": {"name": "errors", "window_s": 0},
}


@pytest.fixture
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    if request.param == "sqlite":
        with open_house(tmp_path) as house:
            yield filled(house)
        return
    with postgres_server() as postgres, open_house(tmp_path, database_url=postgres.empty_database()) as house:
        yield filled(house)


def filled(house: House) -> House:
    house.tenant("acme")
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    return house


def killed_at(house: House, gateway: GatewayProcess, experiment: int, decision: str, stage: str) -> None:
    """Kill it as soon as a decision's swap has come so far."""
    registry, ends = house.registry, time.monotonic() + 60
    while time.monotonic() < ends:
        info = registry.experiments.get(experiment)
        kinds = [line.kind for line in registry.experiments.decisions(experiment)]
        if decision in kinds and info.swap_id is not None:
            state = registry.swaps.get(info.swap_id).state
            if STAGES.index(state) >= STAGES.index(stage):
                os.kill(gateway.pid, signal.SIGKILL)
                return
        else:
            time.sleep(0.005)  # the gateway needs a processor to come so far; from then on no stage may be missed
    raise AssertionError(f"no {decision} came to be {stage}")


def ended(house: House, experiment: int) -> ExperimentInfo:
    """When its last swap is over."""

    def over() -> ExperimentInfo | None:
        info = house.registry.experiments.get(experiment)
        return info if info.ended_at_ms is not None and not info.moving else None

    return wait_until("the end", over)


@pytest.mark.parametrize(
    ("house", "decision", "stage"),
    [("sqlite", "start", PRELOADING), ("postgresql", "rollback", VERIFIED)],
    indirect=["house"],
)
def test_what_was_decided_is_carried_out_once(house: House, decision: str, stage: str) -> None:
    registry, url = house.registry, house.settings.database_url
    made = registry.experiments.create(ADAPTER, Plan.of(PLAN), actor="test")
    with run_engines(house, {}) as (engine,):
        httpx.post(f"{engine.url}/mock/faults", json={"load_ms": 200.0}).raise_for_status()
        with gateway_process(house.settings.state_dir, [engine.url], database_url=url) as first:
            if decision != "start":
                wait_until("it to run", lambda: not registry.experiments.get(made.id).moving)
                traffic = Traffic(registry, registry.experiments.get(made.id))
                traffic.book(*(traffic.failed(f"unit {number}", "1.1") for number in range(40)))
            killed_at(house, first, made.id, decision, stage)
        with gateway_process(house.settings.state_dir, [engine.url], database_url=url) as second:
            if decision == "start":
                wait_until("it to run", lambda: not registry.experiments.get(made.id).moving)
                traffic = Traffic(registry, registry.experiments.get(made.id))
                traffic.book(*(traffic.failed(f"unit {number}", "1.1") for number in range(40)))
            info = ended(house, made.id)
            assert info.state == "rolled_back"
            headers = {"Authorization": f"Bearer {house.keys['acme']}"}
            body = {"model": "acme/triage", "messages": MESSAGES, "max_tokens": 4}
            answer = httpx.post(f"{second.url}/v1/chat/completions", json=body, headers=headers, timeout=DEADLINE_S)
            assert answer.headers["x-switchyard-model"] == "acme/triage@1.0"
    log = registry.experiments.decisions(made.id)
    assert [line.kind for line in log if line.kind != "hold"] == ["start", "rollback"]
    assert registry.experiments.faults(made.id) == []
    assert [swap.state for swap in registry.swaps.recent(10) if "experiment" in swap.detail] == [DONE, DONE]
    found = read_export(json.dumps(line) for line in export(registry.db, str(made.id)))
    assert [one.differences for one in Replay(found.plan, found.shares, found.units).run(found.log)] != []
    assert not any(one.differences for one in Replay(found.plan, found.shares, found.units).run(found.log))
