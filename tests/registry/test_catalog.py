"""The catalog is one snapshot; its revision tells gateways when there is a newer one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from registry.catalog.reader import read_catalog
from registry.errors import RegistryError
from registry.names import parse_ref
from registry.service import Registry
from tests.registry.conftest import Shop
from tests.support.usage_rows import usage_row

TRIAGE = parse_ref("acme/triage")
Change = Callable[[Shop], Any]

CHANGES: dict[str, Change] = {
    "a tenant": lambda shop: shop.registry.tenants.create("initech"),
    "a tenant's settings": lambda shop: shop.registry.tenants.change("acme", {"allow_unknown_fields": True}),
    "a key": lambda shop: shop.registry.tenants.create_key("acme"),
    "a revoked key": lambda shop: shop.registry.tenants.revoke_key(shop.registry.tenants.list_keys()[0].id),
    "a mapped name": lambda shop: shop.registry.model_names.map("acme", "gpt-4", "triage"),
    "a forgotten name": lambda shop: shop.registry.model_names.unmap("acme", "gpt-4o"),
    "a version": lambda shop: shop.publish(7),
    "a moved alias": lambda shop: shop.promote("acme/triage@1.1"),
    "a split": lambda shop: shop.split({"1.0": 5000, "1.1": 5000}),
    "a quarantine": lambda shop: shop.registry.adapters.quarantine(1, "it answers with the base's words"),
}


def refused(change: Change) -> Change:
    def attempt(shop: Shop) -> None:
        with pytest.raises(RegistryError):
            change(shop)

    return attempt


NO_CHANGES: dict[str, Change] = {
    "reading": lambda shop: (shop.registry.catalog(), shop.registry.adapters.all(), shop.registry.tenants.all()),
    "publishing the same bytes": lambda shop: shop.publish(0),
    "laying out": lambda shop: shop.registry.version_files.materialise(shop.publish(0).version.manifest_digest),
    "asking for a swap": lambda shop: shop.registry.swaps.request(parse_ref("acme/triage@1.1"), actor="someone"),
    "asking for a ramp": lambda shop: shop.registry.swaps.request_ramp(
        TRIAGE, {"1.0": 5000, "1.1": 5000}, actor="someone"
    ),
    "usage": lambda shop: shop.registry.ledger.record([usage_row("attempt-1")]),
    "a price": lambda shop: shop.registry.baselines.add_prices("gpt", {"input": "1"}, source="list"),
    "a worker's report": lambda shop: shop.registry.workers.report("worker", "http://127.0.0.1:8000", 3),
    "a refused tenant": refused(lambda shop: shop.registry.tenants.create("acme")),
    "a refused key": refused(lambda shop: shop.registry.tenants.create_key("nobody")),
    "a refused version": refused(lambda shop: shop.publish(8, tenant="nobody")),
    "a refused name": refused(lambda shop: shop.registry.model_names.unmap("acme", "never mapped")),
    "a refused split": refused(lambda shop: shop.split({"1.0": 10_000})),
    "the end of no split": refused(lambda shop: shop.end_split()),
}


@pytest.fixture
def stocked(shop: Shop) -> Shop:
    """Two versions, the first in production; a key; a mapped name."""
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    shop.registry.tenants.create_key("acme")
    shop.registry.model_names.map("acme", "gpt-4o", "triage")
    return shop


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_revision_moves_by_one_with_every_change_that_gateways_must_learn_of(stocked: Shop, change: Change) -> None:
    before = stocked.registry.catalog()
    change(stocked)
    after = stocked.registry.catalog()
    assert after.revision == before.revision + 1 == stocked.registry.db.catalog_revision()
    assert after != before
    assert after == read_catalog(stocked.registry.db)


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES)
def test_the_revision_stays_with_everything_else(stocked: Shop, change: Change) -> None:
    before = stocked.registry.catalog()
    change(stocked)
    assert stocked.registry.catalog() == before


def test_a_catalog_once_read_never_changes(stocked: Shop) -> None:
    catalog = stocked.registry.catalog()
    mappings: list[Any] = [
        catalog.keys,
        catalog.adapters,
        catalog.adapters_of,
        catalog.external,
        catalog.external_of,
        catalog.bases,
        catalog.versions_by_id,
        catalog.wanted,
        catalog.adapters["acme", "triage"].versions,
        catalog.adapters["acme", "triage"].aliases,
        catalog.adapters["acme", "triage"].splits,
    ]
    for mapping in mappings:
        with pytest.raises(TypeError):
            mapping["new"] = "entry"
    for field in ("revision", "adapters"):
        with pytest.raises(FrozenInstanceError):
            setattr(catalog, field, None)
    stocked.promote("acme/triage@1.1")
    assert catalog.adapters["acme", "triage"].aliases["production"].number == "1.0"


def test_the_catalog_holds_what_a_request_needs(stocked: Shop) -> None:
    stocked.publish(3, tenant="globex", adapter="sentiment")
    stocked.publish(4, adapter="answers")
    stocked.split({"1.1": 1000, "1.0": 9000})
    catalog = stocked.registry.catalog()
    assert catalog.adapters_of == {"acme": ("answers", "triage"), "globex": ("sentiment",)}
    triage = catalog.adapters["acme", "triage"]
    assert list(triage.versions) == ["1.0", "1.1"]
    version = triage.aliases["production"]
    assert (version.name, version.tenant, version.adapter) == ("acme/triage@1.0", "acme", "triage")
    assert catalog.versions_by_id[version.id] is version
    assert version.base_digest == catalog.bases["tiny"].digest
    split = triage.splits["production"]
    assert [(arm.name, arm.weight) for arm in split.arms] == [("1.0", 9000), ("1.1", 1000)]
    assert len(split.salt) == 22, "128 bits, as salts.py writes them"
    assert set(catalog.bases) == {"tiny", "other"}


def test_wanted_are_the_versions_that_traffic_can_reach_now(stocked: Shop) -> None:
    def wanted() -> list[str]:
        return sorted(version.name for version in stocked.registry.catalog().wanted_versions())

    for seed in (3, 4):
        stocked.publish(seed)
    assert wanted() == ["acme/triage@1.0"]
    stocked.promote("acme/triage@1.1", alias="canary")
    stocked.promote("acme/triage@1.0", alias="stable")
    stocked.split({"1.0": 0, "1.1": 0, "1.2": 10_000, "1.3": 0})
    assert wanted() == ["acme/triage@1.0", "acme/triage@1.1", "acme/triage@1.2"]
    stocked.end_split()
    assert wanted() == ["acme/triage@1.0", "acme/triage@1.1"]


def test_a_quarantined_version_is_not_wanted_and_ends_the_split_that_it_is_an_arm_of(stocked: Shop) -> None:
    stocked.split({"1.0": 5000, "1.1": 5000})
    second = stocked.registry.adapters.get(parse_ref("acme/triage@1.1"))
    stocked.registry.adapters.quarantine(second.id, "no effect")
    catalog = stocked.registry.catalog()
    assert catalog.adapters["acme", "triage"].splits == {}
    assert [version.name for version in catalog.wanted_versions()] == ["acme/triage@1.0"]
    assert catalog.versions_by_id[second.id].quarantined == "no effect"


def test_workers_that_report_are_live_until_they_leave(registry: Registry) -> None:
    registry.workers.report("one", "http://127.0.0.1:8000", 3)
    registry.workers.report("two", "http://127.0.0.1:8001", 3)
    registry.workers.report("one", "http://127.0.0.1:8000", 4)
    assert {worker.id: worker.acknowledged_revision for worker in registry.workers.live()} == {"one": 4, "two": 3}
    registry.workers.leave("one")
    assert [worker.id for worker in registry.workers.live()] == ["two"]
