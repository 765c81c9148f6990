"""The leader writes down what bills are made of, and what comes of them are lines of the bill."""

from __future__ import annotations

import asyncio

import pytest

from gateway.cost.costing import allocation_of
from gateway.fleet.duties.costs import KeepCosts, fit_what_is_due
from gateway.fleet.requests import Errands
from gateway.fleet.sampling import Sampling
from registry.days import DAY_MS
from registry.db import now_ms
from registry.names import SYSTEM
from tests.gateway.test_cost_weights import BASE, KIND, drawn
from tests.support.stack import House, proof, run_stack


def test_an_engine_that_serves_has_a_stay_and_what_was_used_of_it_is_the_bill(house: House) -> None:
    house.publish("acme/triage", proof=proof())
    house.point("acme/triage", "1.0")
    house.registry.engine_costs.add("*", "on_demand", {"hourly": "3600"}, source="a test", actor="me")
    with run_stack(house) as stack:
        stack.wait_resident("acme/triage@1.0")
        assert stack.chat("triage").status_code == 200
        controller = stack.controller
        duty = KeepCosts(house.registry, controller.engines, controller.sampling, Errands())
        asyncio.run(duty.keep())
        engine = controller.engines[0]
        stay = next(one for one in house.registry.engine_spans.between(0, now_ms()) if one.open)
        assert (stay.engine_id, stay.host, stay.kind) == (
            engine.url,
            "127.0.0.1",
            f"vllm on {engine.declared.platform}",
        )
        assert stay.base_digest == engine.declared.base_digest
    allocation = allocation_of(house.registry, now_ms() - DAY_MS, now_ms() + DAY_MS, keys=("served_model",))
    assert allocation.bill.nano == sum(line.loaded_nano for line in allocation.lines) > 0
    found = {(line.kind, line.tenant, *line.key): line for line in allocation.lines}
    assert found["tenant", "acme", "acme/triage@1.0"].busy_nano > 0
    assert found["system", SYSTEM, "probes"].attempts > 0
    assert found["loads", "acme", "acme/triage@1.0"].busy_nano > 0
    assert allocation.assumed


async def test_what_the_database_did_not_take_is_written_the_next_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = Sampling()
    sampling.give_back(drawn(1, 0.2, 1.0, 0.0)[:3])
    duty = KeepCosts(house.registry, [], sampling, Errands())

    def away(*_: object) -> None:
        raise OSError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(house.registry.engine_weights, "sample", away)
        with pytest.raises(OSError, match="the database is away"):
            await duty.keep()
    await duty.keep()
    assert sampling.take() == []


def test_a_fit_is_made_once_a_day_and_counts_from_that_day_on(house: House) -> None:
    registry, at_ms = house.registry, now_ms()
    registry.engine_weights.sample(drawn(1, 0.2, 1.0, 0.0), 0)
    for later_ms in (0, 1, DAY_MS - 1, DAY_MS):
        fit_what_is_due(registry, at_ms + later_ms)
    fits = registry.engine_weights.all()
    assert [one.made_at_ms - at_ms for one in fits] == [0, DAY_MS]
    assert {(one.base_digest, one.kind) for one in fits} == {(BASE, KIND)}
