"""What a rollback would do is said beforehand, as the rollback then does it: a version, or the refusal."""

from __future__ import annotations

import pytest

from registry.errors import RegistryError
from registry.names import parse_ref
from registry.swaps.infos import DONE
from registry.swaps.ways_back import WayBackInfo
from tests.registry.conftest import TRIAGE, Shop
from tests.registry.test_experiments import begun


def way_back(shop: Shop, alias: str = "production") -> WayBackInfo:
    """What is said of the alias: held against what an order does, which is carried out."""
    said = shop.registry.swaps.ways_back(TRIAGE)[alias]
    swaps = shop.registry.swaps
    if said.back_to is None:
        with pytest.raises(RegistryError) as refused:
            swaps.request_rollback(TRIAGE, alias=alias, actor="someone")
        assert said.why_not == refused.value.message
        return said
    swap = swaps.request_rollback(TRIAGE, alias=alias, actor="someone")
    assert (swap.to_version, [arm.version for arm in swap.arms]) == (said.back_to, [said.back_to])
    swaps.flip(swap.id)
    swaps.advance(swap.id, DONE)
    return said


def test_it_is_the_version_before_and_nothing_at_the_bottom(shop: Shop) -> None:
    shop.versions(3)
    for number in ("1.0", "1.1", "1.2"):
        shop.promote(f"acme/triage@{number}")
    assert way_back(shop) == WayBackInfo("acme/triage@1.1", None)
    assert way_back(shop) == WayBackInfo("acme/triage@1.0", None)
    assert way_back(shop) == WayBackInfo(None, "acme/triage@production has no earlier version to go back to")


def test_each_alias_has_its_own(shop: Shop) -> None:
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    shop.promote("acme/triage@1.1")
    shop.promote("acme/triage@1.1", "canary")
    assert {alias: way.back_to for alias, way in shop.registry.swaps.ways_back(TRIAGE).items()} == {
        "canary": None,
        "production": "acme/triage@1.0",
    }


def test_of_a_split_alias_it_is_what_the_alias_points_at(shop: Shop) -> None:
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    shop.split({"1.0": 9000, "1.1": 1000})
    assert way_back(shop).back_to == "acme/triage@1.0"
    assert "no earlier version" in str(way_back(shop).why_not)


def test_a_quarantined_version_is_no_way_back(shop: Shop) -> None:
    first, second = shop.versions(2)
    shop.promote("acme/triage@1.0")
    shop.promote("acme/triage@1.1")
    shop.registry.adapters.quarantine(first.id, "it swears")
    assert way_back(shop).why_not == "acme/triage@1.0 is quarantined: it swears"
    shop.registry.adapters.release(first.id)
    shop.split({"1.0": 1000, "1.1": 9000})
    shop.registry.adapters.quarantine(second.id, "it swears too")
    assert way_back(shop).back_to == "acme/triage@1.0"


def test_there_is_none_while_a_swap_or_an_experiment_of_the_alias_goes_on(shop: Shop) -> None:
    shop.versions(3)
    shop.promote("acme/triage@1.0")
    shop.promote("acme/triage@1.1")
    swap = shop.registry.swaps.request(parse_ref("acme/triage@1.2"), actor="someone")
    assert f"swap {swap.id} of acme/triage@production is still 'requested'" in str(way_back(shop).why_not)
    shop.registry.swaps.flip(swap.id)
    shop.registry.swaps.advance(swap.id, DONE)
    running = begun(shop, "1.1")
    held = way_back(shop)
    assert f"`switchyard experiments stop {running.id}` ends it first" in str(held.why_not)
    assert held.held == held.why_not
