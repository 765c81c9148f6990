"""The leader tells of tenants that cost much more on a day that is over, once each, with the cause."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from gateway.cost import telling
from gateway.cost.anomalies import Jump
from gateway.cost.known_jumps import jump_documents
from gateway.cost.outlook import jumps
from gateway.cost.outlook_words import jump_document
from gateway.fleet.duties.aside import AsideFailed
from gateway.fleet.duties.jumps import GRACE_MS, TellOfJumps
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.days import DAY_MS, date_of
from registry.db import now_ms
from registry.ledger.rows import CostJump, JumpLook
from registry.service import Registry
from registry.webhooks.rows import WebhookDelivery
from tests.support.stack import House, run_stack
from tests.support.usage_rows import usage_row
from tests.support.waiting import wait_until

YESTERDAY = (now_ms() - GRACE_MS) // DAY_MS - 1
"""The last day that is over."""
URL = "https://hooks.example.com/x"


def use(registry: Registry, tenant: str, times: int, days: int = 30) -> None:
    """Four requests a day, and so many times as many on the last day that is over."""
    registry.ledger.record(
        usage_row(
            f"{tenant}-{day}-{number}",
            tenant=tenant,
            served_model=f"{tenant}/triage@1.0",
            started_at_ms=day * DAY_MS + number,
            finished_at_ms=day * DAY_MS + number + 100,
            cost_nano=10**9,
        )
        for day in range(YESTERDAY - days, YESTERDAY + 1)
        for number in range(4 * times if day == YESTERDAY else 4)
    )


def told(registry: Registry) -> list[tuple[str, str, dict[str, Any]]]:
    """To whom, of whom, and what."""
    with registry.db.read() as session:
        rows = session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.number)).all()
    bodies = [(row.tenant, json.loads(row.body)) for row in rows]
    assert {body["type"] for _, body in bodies} <= {"cost.anomaly"}
    return [(whom, body["data"]["tenant"], body["data"]) for whom, body in bodies]


@pytest.fixture
def busy(house: House) -> Registry:
    """Of five tenants two used five times as much as usual, and one of these wants to know."""
    for tenant, times in (("acme", 5), ("bolt", 1), ("cargo", 5), ("delta", 1), ("early", 5)):
        if tenant != "acme":
            house.tenant(tenant)
        use(house.registry, tenant, times, days=5 if tenant == "early" else 30)
    house.registry.webhooks.create("acme", "mine", URL, ["cost.anomaly"])
    house.registry.webhooks.create("cargo", "mine", URL, ["experiment.decision"])
    return house.registry


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "TENANTS_READ", 2)


async def test_each_is_told_once_with_its_cause_however_many_leaders_look(busy: Registry) -> None:
    for _ in range(2):
        duty = TellOfJumps(busy, Errands(), tells=True)
        assert [duty.is_due(Round(reconciles=one, woken=True)) for one in (True, False)] == [True, False]
        await duty.tell()
        assert not duty.is_due(Round(reconciles=True, woken=False)), "the day is done"
    found = told(busy)
    assert [(whom, of) for whom, of, _ in found] == [("acme", "acme"), ("_system", "acme"), ("_system", "cargo")]
    data = found[0][2]
    assert (data["date"], data["amount"], data["parts"][0]["cause"]) == (date_of(YESTERDAY), "20", "requests")
    assert "More requests of key key-1 on acme/triage: 20 instead of 4" in data["sentence"]


async def test_days_before_the_last_are_looked_at_too_and_nobody_is_told_of_them(house: House) -> None:
    registry = house.registry
    use(registry, "acme", 1)
    before = YESTERDAY - 2
    registry.ledger.record(
        usage_row(
            f"many-{number}",
            served_model="acme/triage@1.0",
            started_at_ms=before * DAY_MS + number,
            finished_at_ms=before * DAY_MS + number + 100,
            cost_nano=10**9,
        )
        for number in range(20)
    )
    await TellOfJumps(registry, Errands(), tells=True).tell()
    assert told(registry) == []
    at_ms = (YESTERDAY + 1) * DAY_MS
    (said,) = jump_documents(registry, at_ms, days=telling.LOOKED_BACK)
    assert (said["tenant"], said["date"], said["amount"]) == ("acme", date_of(before), "24")
    assert [jump_document(jump) for jump in jumps(registry, at_ms, days=telling.LOOKED_BACK)] == [said]
    with registry.db.write() as session:
        session.execute(update(CostJump).values(said={**said, "amount": "25"}))
    assert jump_documents(registry, at_ms, days=3)[0]["amount"] == "25", "as it was found, and not made anew"
    assert jump_documents(registry, at_ms, days=2) == jump_documents(registry, at_ms, tenant="globex", days=3) == []
    with registry.db.write() as session:
        session.execute(delete(JumpLook).where(JumpLook.day == before))
    assert jump_documents(registry, at_ms, days=3) == [said], "nobody has looked: it is looked at now"


def test_without_an_address_of_the_operators_only_tenants_that_want_it_are_told(busy: Registry) -> None:
    assert [jump.tenant for jump in telling.tell(busy, YESTERDAY, "tenants")] == ["acme", "cargo"]
    assert [(whom, of) for whom, of, _ in told(busy)] == [("acme", "acme")]


def test_another_leader_goes_on_where_the_first_was_ended(busy: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Sequence[str]] = []
    whole = telling.look

    def ends_after_one(registry: Registry, day: int, tenants: Sequence[str]) -> list[Jump]:
        looked.append(tenants)
        if len(looked) == 2:
            raise OSError("the database is away")
        return whole(registry, day, tenants)

    monkeypatch.setattr(telling, "look", ends_after_one)
    with pytest.raises(OSError, match="away"):
        list(telling.tell(busy, YESTERDAY, "everybody"))
    assert [of for _, of, _ in told(busy)] == ["acme", "acme"]
    assert [jump.tenant for jump in telling.tell(busy, YESTERDAY, "everybody")] == ["cargo"]
    assert looked == [["acme", "bolt"], ["cargo", "delta"], ["cargo", "delta"], ["early"]]
    assert [of for _, of, _ in told(busy)] == ["acme", "acme", "cargo"]


def test_a_gateway_that_leads_tells_by_itself(house: House) -> None:
    use(house.registry, "acme", 5)
    with run_stack(house, budget_webhook_url=URL):
        ((whom, of, _),) = wait_until("an event", lambda: told(house.registry))
    assert (whom, of) == ("_system", "acme")


async def test_a_day_on_which_nobody_used_anything_is_done_without_a_process(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.fleet.duties.aside.sys.executable", "/nothing/there")
    duty = TellOfJumps(house.registry, Errands(), tells=True)
    await duty.tell()
    assert not duty.is_due(Round(reconciles=True, woken=False)), "the day is done"
    use(house.registry, "acme", 5)
    with pytest.raises(AsideFailed):
        await TellOfJumps(house.registry, Errands(), tells=True).tell()
