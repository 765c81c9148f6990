"""An experiment whose analysis hangs holds up no other for longer than once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.fleet.duties import experiments as duty
from gateway.fleet.duties.experiments import DecideExperiments
from gateway.fleet.requests import Errands
from registry.experiments.infos import ExperimentInfo
from registry.experiments.plan import Plan
from registry.experiments.rows import Experiment
from registry.names import parse_ref
from tests.support.experiment_parts import Traffic, carried_out
from tests.support.postgres_server import postgres_server
from tests.support.stack import House, open_house

PLAN = {"treatments": ["1.1"], "metric": {"name": "errors", "window_s": 0}, "guardrails": []}
DEADLINE_S = 60.0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with postgres_server() as postgres, open_house(tmp_path, database_url=postgres.empty_database()) as house:
        house.tenant("acme")
        yield house


def begun(house: House, adapter: str) -> Traffic:
    for _ in range(2):
        house.publish(adapter)
    house.point(adapter, "1.0")
    made = house.registry.experiments.create(parse_ref(adapter), Plan.of(PLAN), actor="test")
    return Traffic(house.registry, carried_out(house.registry, made.id))


def now(traffic: Traffic) -> ExperimentInfo:
    return traffic.registry.experiments.get(traffic.info.id)


async def look_until(duty_: DecideExperiments, done: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await asyncio.to_thread(done):
            await duty_.do(None)  # type: ignore[arg-type]
            await asyncio.sleep(0.05)


def test_others_are_looked_at_while_one_hangs_and_it_comes_back_when_it_can(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duty, "LOOK_S", 0.05)
    fine, hangs = begun(house, "acme/first"), begun(house, "acme/second")
    lease = house.registry.leadership.acquire("test", "here")
    assert lease is not None
    errands = Errands()

    async def meanwhile() -> None:
        decides = DecideExperiments(house.registry, lease.token, errands)
        try:
            await look_until(decides, lambda: None not in (now(fine).standing, now(hangs).standing))
            hung = now(hangs).standing_at_ms
            hangs.book(hangs.row("first", "1.0"))
            monkeypatch.setattr(duty, "ANSWERS_WITHIN_S", 1.0)
            row = select(Experiment).where(Experiment.id == hangs.info.id).with_for_update()
            with house.registry.db.write() as session:  # whoever writes what is new of it waits for this
                session.execute(row)
                await look_until(decides, lambda: bool(decides._slow))
                monkeypatch.setattr(duty, "ANSWERS_WITHIN_S", DEADLINE_S)
                await look_until(decides, lambda: decides._patient.child.process is not None)
                for number in range(3):
                    before = now(fine).standing_at_ms
                    fine.book(fine.row(f"unit {number}", "1.0"))
                    await look_until(decides, lambda before=before: now(fine).standing_at_ms != before)  # type: ignore[misc]
                assert decides._slow == {hangs.info.id}
                assert now(hangs).standing_at_ms == hung
            await look_until(decides, lambda: now(hangs).standing_at_ms != hung and not decides._slow)
            await look_until(decides, lambda: decides._patient.child.process is None)
        finally:
            await asyncio.gather(*errands.tasks(), return_exceptions=True)
            decides.close()

    asyncio.run(meanwhile())
