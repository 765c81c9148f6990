"""The leader warns tenants of models that end at their vendors, once, and the admin API and doctor show them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from gateway.checks import check_retirements
from gateway.fleet.duties.retirements import WarnOfRetirements
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.days import DAY_MS, day_of
from registry.db import now_ms
from registry.prices.baseline_writing import Facts
from registry.webhooks.endpoints import EVENT_TYPES
from registry.webhooks.rows import WebhookDelivery
from tests.support.admin_calls import Admin
from tests.support.stack import House, Stack, open_house, run_stack
from tests.support.waiting import wait_until

MAPPED = "vendor-model-2025-01-01"


def ends_soon(house: House) -> None:
    """acme asks for a vendor's model by its name, and that ends in 40 days."""
    if "acme" not in {tenant.name for tenant in house.registry.tenants.all()}:
        house.tenant("acme")
    house.registry.model_names.map("acme", MAPPED, "tiny")
    house.registry.webhooks.create("acme", "mine", "https://hooks.example.com/x", EVENT_TYPES)
    today_ms, _ = day_of(now_ms())
    facts = Facts(status="retiring", ends_at_ms=today_ms + 40 * DAY_MS, substitute="gpt-5.4")
    house.registry.baselines.say("vendor-model", facts, source="their page")


def events(house: House) -> list[dict[str, Any]]:
    """Bodies of what is to be told, whoever has begun to tell it."""
    with house.registry.db.read() as session:
        return [json.loads(row.body) for row in session.scalars(select(WebhookDelivery))]


async def test_the_duty_warns_once_however_many_leaders_have_it(house: House) -> None:
    ends_soon(house)
    for _ in range(2):
        duty = WarnOfRetirements(house.registry, Errands())
        assert duty.is_due(Round(reconciles=True, woken=False))
        assert not duty.is_due(Round(reconciles=False, woken=True))
        await duty.warn()
    assert [(one["data"]["tenant"], one["data"]["name"]) for one in events(house)] == [("acme", MAPPED)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One engine and one gateway that leads."""
    with open_house(tmp_path_factory.mktemp("radar")) as house:
        ends_soon(house)
        with run_stack(house) as stack:
            yield stack


def test_a_gateway_that_leads_warns_by_itself_and_shows_what_ends(stack: Stack, admin: Admin) -> None:
    (body,) = wait_until("a warning", lambda: events(stack.house))
    assert (body["type"], body["data"]["days_left"], body["data"]["substitute"]) == ("model.retiring", 40, "gpt-5.4")
    page = admin.get("/cost/radar", tenant="acme")
    assert (page["retirements"], page["next"]) == ([body["data"]], None)
    assert admin.get("/cost/radar", tenant="acme", days=39)["retirements"] == []
    first = admin.get("/cost/radar", days=36_500, limit=1)
    second = admin.get("/cost/radar", days=36_500, limit=1, after=first["next"])
    assert first["retirements"] != second["retirements"]
    assert admin.refused("GET", "/cost/radar", params={"after": "x"})[1]["param"] == "after"
    assert admin.refused("GET", "/cost/radar", params={"days": -1})[0] == 400


def test_doctor_names_tenants_whose_models_end_and_where_to_look() -> None:
    none, some = check_retirements([], 60), check_retirements([f"acme's m{n}" for n in range(7)], 60)
    assert (none.ok, none.found) == (True, "none within 60 days")
    assert (some.ok, some.remedy) == (False, "see `switchyard cost radar` for what to do about each")
    assert (
        some.found
        == "within 60 days at their vendors: acme's m0, acme's m1, acme's m2, acme's m3, acme's m4 and 2 more"
    )
