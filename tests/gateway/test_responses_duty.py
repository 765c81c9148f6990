"""What the fleet's leader does about stored responses: what is too old goes, what nobody makes any more has failed."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from sqlalchemy.exc import SQLAlchemyError

from gateway.fleet.duties.responses import LookAfterResponses
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.db import now_ms
from tests.registry.test_responses import save, turn
from tests.support.stack import House

ROUND = Round(reconciles=True, woken=False)


def duty(house: House) -> LookAfterResponses:
    return LookAfterResponses(house.registry, 30, 90, Errands())


def status(house: House, id_: str) -> str:
    found: str = orjson.loads(house.registry.responses.document("acme", id_, 0))["status"]
    return found


async def test_only_a_worker_that_was_gone_twice_is_gone(house: House) -> None:
    """One that has just begun has not reported yet when it makes its first."""
    registry, looks = house.registry, duty(house)
    registry.workers.report("w-1", "http://x", 0)
    save(registry, *(turn(f"resp_{one}", status="queued", worker=f"w-{one}") for one in (1, 2, 3)))
    await looks.look()
    assert [status(house, f"resp_{one}") for one in (1, 2, 3)] == ["queued"] * 3
    registry.workers.report("w-3", "http://x", 0)
    await looks.look()
    assert [status(house, f"resp_{one}") for one in (1, 2, 3)] == ["queued", "failed", "queued"]


async def test_what_is_too_old_goes_now_and_then(house: House) -> None:
    looks = duty(house)
    save(house.registry, turn("resp_1", created_at_ms=1_000), turn("resp_2"))
    await looks.look()
    assert [one.responses for one in house.registry.responses.kept()] == [1]
    save(house.registry, turn("resp_3", created_at_ms=1_000))
    await looks.look()
    assert [one.responses for one in house.registry.responses.kept()] == [2], "a minute has not passed"


async def test_a_round_does_not_wait_for_it_and_hears_of_its_error_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    errands = Errands()
    looks = LookAfterResponses(house.registry, 30, 90, errands)
    save(house.registry, turn("resp_1", status="queued", worker="w-1", created_at_ms=now_ms()))

    def away() -> set[str]:
        raise SQLAlchemyError("away")

    with monkeypatch.context() as context:
        context.setattr(house.registry.responses, "runners", away)
        await looks.do(ROUND)
        await asyncio.gather(*errands.tasks(), return_exceptions=True)
    with pytest.raises(SQLAlchemyError, match="away"):
        await looks.do(ROUND)
    for _ in range(3):
        await looks.do(ROUND)
        await asyncio.gather(*errands.tasks())
    assert status(house, "resp_1") == "failed"
