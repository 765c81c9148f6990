"""A gateway of two workers: a unit has one arm whichever answers, and is exposed once, also while weights move."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from registry.experiments.infos import Decision, ExperimentInfo
from registry.experiments.plan import Plan
from registry.experiments.rows import ExperimentUnit
from tests.bars.support.gateways import gateway_process
from tests.support.experiment_parts import ADAPTER
from tests.support.stack import CHAT, MESSAGES, House, open_house, run_engines
from tests.support.waiting import wait_until

UNITS, ROUNDS, AT_ONCE = 60, 4, 8
PLAN: dict[str, Any] = {
    "treatments": ["1.1"],
    "ramp": [{"percent": share, "dwell_s": 86_400, "min_units": 0} for share in (20, 50)],
    "metric": {"name": "errors", "window_s": 0},
    "guardrails": [],
}


async def asked(url: str, key: str, ramp: Any) -> None:
    """Every unit some times, each time over a new connection, so that either worker may answer; the ramp goes up while
    the second round is asked.
    """
    numbers = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with numbers, httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http:
            headers = {"Authorization": f"Bearer {key}", "X-Switchyard-Unit": f"unit {number}"}
            answer = await http.post(CHAT, json={"model": "acme/triage", "messages": MESSAGES}, headers=headers)
            assert answer.status_code == 200, answer.text

    for turn in range(ROUNDS):
        moving = asyncio.create_task(asyncio.to_thread(ramp)) if turn == 1 else None
        await asyncio.gather(*(one(number) for number in range(UNITS)))
        if moving is not None:
            await moving


def test_a_unit_keeps_its_arm_on_both_workers_and_is_exposed_once_while_the_ramp_goes_up(tmp_path: Path) -> None:
    with open_house(tmp_path) as house, run_engines(house, {}) as (engine,):
        house.tenant("acme")
        for _ in range(2):
            house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with gateway_process(house.settings.state_dir, [engine.url], workers=2) as gateway:
            info = begun(house)

            def ramp() -> None:
                house.registry.experiments.decide(info.id, Decision("ramp", "on", actor="test"))
                settled(house, info.id)

            asyncio.run(asked(gateway.url, house.keys["acme"], ramp))
            last = wait_until("its attempts", lambda: in_the_books(house, info.id))
    met = defaultdict[str, list[tuple[int, str]]](list)
    for row in sorted(last["rows"], key=lambda row: row["started_at_ms"]):
        met[row["unit_hash"]].append((row["split_id"], row["arm"]))
    assert len(met) == UNITS
    before, after = sorted({split for of in met.values() for split, _ in of})
    for of in met.values():
        by_split = {split: {arm for at, arm in of if at == split} for split, _ in of}
        assert all(len(arms) == 1 for arms in by_split.values()), "by hash and weights alone, whichever worker answers"
        assert by_split.get(before) != {"1.1"} or by_split.get(after) != {"1.0"}, "nobody leaves the treatment"
    moved = {name for name, of in met.items() if len({arm for _, arm in of}) > 1}
    assert 0 < len(moved) < UNITS, "from 20 to 50 %"
    units = {unit.unit_hash: unit for unit in last["units"]}
    assert len(units) == len(last["units"]) == UNITS, "each is exposed, once"
    assert sorted(unit.exposed_seq for unit in units.values()) == list(range(1, UNITS + 1))
    assert {name for name, unit in units.items() if unit.censored_at_ms} == moved
    for name in moved:  # its arm is that of the attempt that was taken in first, which a busy worker tells late
        assert {(before, "1.0"), (after, "1.1")} == set(met[name]), "units are moved to the treatment alone"


def begun(house: House) -> ExperimentInfo:
    made = house.registry.experiments.create(ADAPTER, Plan.of(PLAN), actor="test")
    return settled(house, made.id)


def settled(house: House, experiment_id: int) -> ExperimentInfo:
    def still() -> ExperimentInfo | None:
        found = house.registry.experiments.get(experiment_id)
        return None if found.moving else found

    return wait_until("the swap", still)


def in_the_books(house: House, experiment_id: int) -> dict[str, Any] | None:
    """All rows and units, when all attempts were taken in."""
    rows = [row for row in house.registry.ledger.recent(10_000) if row["split_id"] is not None]
    if len(rows) < UNITS * ROUNDS or house.registry.experiments.analysis.waiting(experiment_id):
        return None
    with house.registry.db.read() as session:
        units = session.scalars(select(ExperimentUnit).where(ExperimentUnit.experiment_id == experiment_id)).all()
        session.expunge_all()
    return {"rows": rows, "units": units} if len(units) == UNITS else None
