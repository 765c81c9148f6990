"""Retirement radar: who depends on a model that its vendor switches off is told once, with the way out."""

from __future__ import annotations

import json

import pytest

from registry.days import DAY_MS, day_of
from registry.db import now_ms
from registry.prices.baseline_writing import Facts
from registry.prices.radar import EVENT_TYPE, Retirement, document
from registry.prices.vendor_names import baselines_of
from registry.service import Registry
from registry.webhooks.endpoints import EVENT_TYPES
from tests.registry.conftest import Shop
from tests.registry.test_experiments import begun

VENDOR = "ft:vendor-small-2025-01-01:acme::7"


@pytest.fixture
def served(shop: Shop) -> Shop:
    """Two versions, the first in production; acme's code goes on asking for the vendor's model."""
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    shop.registry.model_names.map("acme", VENDOR, "triage")
    shop.registry.model_names.map("globex", "vendor-small", "tiny")
    return shop


def ends_in(registry: Registry, days: int, name: str = "ft:vendor-small", substitute: str = "vendor-next") -> None:
    today_ms, _ = day_of(now_ms())
    status = "retiring" if days > 0 else "retired"
    facts = Facts(status=status, ends_at_ms=today_ms + days * DAY_MS, substitute=substitute)
    registry.baselines.say(name, facts, source="their page")


def listen(registry: Registry, tenant: str) -> None:
    registry.webhooks.create(tenant, "mine", "https://hooks.example.com/x", EVENT_TYPES)


def seen(registry: Registry, days: int) -> list[tuple[str, str | None, str, int]]:
    """Of what this test has made."""
    return [
        (one.kind, one.tenant, one.name, one.days_left) for one in registry.radar.within(days) if "vendor" in one.name
    ]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("gpt-4o-mini", ("gpt-4o-mini",)),
        ("gpt-4o-mini-2024-07-18", ("gpt-4o-mini-2024-07-18", "gpt-4o-mini")),
        ("gpt-4-0613", ("gpt-4-0613", "gpt-4")),
        (VENDOR, (VENDOR, "ft:vendor-small", "vendor-small")),
        ("ft:", ("ft:",)),
        ("", ()),
    ],
)
def test_a_name_is_looked_for_as_it_is_then_by_its_family(name: str, found: tuple[str, ...]) -> None:
    assert [one for one in baselines_of(name) if one != "ft:" or name == "ft:"] == [
        one for one in found if one != "ft:"
    ]


def test_what_ends_soon_or_has_just_ended_is_seen_with_who_depends_on_it(served: Shop) -> None:
    registry = served.registry
    ends_in(registry, 40)
    ends_in(registry, -5, "vendor-small")
    assert seen(registry, 39) == [("baseline", None, "vendor-small", -5), ("name", "globex", "vendor-small", -5)]
    assert seen(registry, 4) == []
    assert seen(registry, 40)[2:] == [
        ("baseline", None, "ft:vendor-small", 40),
        ("name", "acme", VENDOR, 40),
    ]
    assert [one.name for one in registry.radar.within(40, "globex")] == ["vendor-small"]
    assert registry.radar.within(40, "nobody") == []


def test_the_way_out_names_the_adapter_its_experiment_and_the_substitute(served: Shop) -> None:
    running = begun(served)
    ends_in(served.registry, 40)
    (one,) = served.registry.radar.within(40, "acme")
    assert (one.served_by, one.substitute, one.source) == ("acme/triage@production", "vendor-next", "their page")
    assert [(each.id, each.alias, each.state) for each in one.experiments] == [(running.id, "production", "running")]
    assert one.exit.startswith("send what still asks the vendor here, where acme/triage@production answers")
    assert "(running) runs on it" in one.exit
    baseline = next(each for each in served.registry.radar.within(40) if each.name == "ft:vendor-small")
    assert baseline.exit == "compare with vendor-next"


def test_a_name_of_its_own_in_the_log_says_more_than_its_family(served: Shop) -> None:
    ends_in(served.registry, 10)
    served.registry.baselines.say(VENDOR, Facts(status="live"), source="a contract")
    assert ("name", "acme", VENDOR, 10) not in seen(served.registry, 20)


def test_a_tenant_is_told_once_of_each_day_and_only_of_its_own_names(served: Shop) -> None:
    registry = served.registry
    listen(registry, "acme")
    ends_in(registry, 40)
    assert registry.radar.warn(39) == 0, "not yet"
    assert registry.radar.warn(40) == 1
    assert registry.radar.warn(40) == 0
    (event,) = registry.outbox.take_up(10, 60_000, most_of_one=10, busy={})
    body = json.loads(event.body)
    assert (event.tenant, body["type"]) == ("acme", EVENT_TYPE)
    (one,) = registry.radar.within(40, "acme")
    assert body["data"] == json.loads(json.dumps(document(one)))
    assert (body["data"]["name"], body["data"]["days_left"], body["data"]["substitute"]) == (VENDOR, 40, "vendor-next")
    ends_in(registry, 20)
    assert registry.radar.warn(40) == 1, "another day is news"
    ends_in(registry, -1)
    assert registry.radar.warn(40) == 0, "nobody is warned of what is over"


def test_who_gets_an_address_later_is_told_then(served: Shop) -> None:
    registry = served.registry
    ends_in(registry, 40)
    assert registry.radar.warn(60) == 0
    listen(registry, "globex")
    registry.webhooks.create("acme", "jobs alone", "https://hooks.example.com/x", EVENT_TYPES[:1])
    assert registry.radar.warn(60) == 0, "globex has no such name, and acme's address does not want it"
    listen(registry, "acme")
    assert registry.radar.warn(60) == 1


def test_a_retirement_without_substitute_still_says_what_to_do() -> None:
    one = Retirement("baseline", None, "x", "x", 0, 0, "page", None, (), None)
    assert one.exit == "compare with another baseline"
