"""What a name stands for is found out once for each key and catalog, and never for another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import Forbidden, ModelNotFound
from gateway.handoffs import Principal
from gateway.steps.authenticate import authenticate
from gateway.steps.resolve import Targets, resolve
from tests.support.stack import BASE, House, open_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path) as house:
        for tenant in ("acme", "globex"):
            house.tenant(tenant)
            house.publish(f"{tenant}/triage")
            house.publish(f"{tenant}/triage")
            house.point(f"{tenant}/triage", "1.0")
        yield house


def principal(house: House, key: str) -> Principal:
    return authenticate(key, house.registry.catalog())


def test_a_name_is_another_version_as_soon_as_another_catalog_is_in_force(house: House) -> None:
    targets, acme = Targets(), principal(house, house.keys["acme"])
    before = house.registry.catalog()
    assert targets.of(acme, "triage", before) is targets.of(acme, "triage", before)
    house.point("acme/triage", "1.1")
    after = house.registry.catalog()
    for catalog, number in ((after, "1.1"), (before, "1.0"), (after, "1.1")):
        target = targets.of(acme, "triage", catalog)
        assert target == resolve(acme, "triage", catalog)
        assert target.version is not None
        assert target.version.number == number


def test_one_keys_names_are_no_other_keys(house: House) -> None:
    targets, catalog = Targets(), house.registry.catalog()
    acme, globex = (principal(house, house.keys[tenant]) for tenant in ("acme", "globex"))
    found = [targets.of(one, "triage", catalog).version for one in (acme, globex)]
    assert [one.tenant for one in found if one is not None] == ["acme", "globex"]
    with pytest.raises(ModelNotFound):
        targets.of(globex, "acme/triage", catalog)
    assert targets.of(acme, "acme/triage", catalog).version is not None
    with pytest.raises(ModelNotFound):
        targets.of(globex, "acme/triage", catalog)


def test_a_key_without_a_scope_has_nothing_of_what_another_key_of_its_tenant_found(house: House) -> None:
    keys = {scope: house.key("acme", scope) for scope in ("base", "inference")}
    targets, catalog = Targets(), house.registry.catalog()
    of_base, of_adapters = (principal(house, keys[scope]) for scope in ("base", "inference"))
    assert targets.of(of_base, BASE, catalog).base is not None
    with pytest.raises(Forbidden):
        targets.of(of_adapters, BASE, catalog)
    assert targets.of(of_adapters, "triage", catalog).version is not None
    with pytest.raises(ModelNotFound):
        targets.of(of_base, "triage", catalog)


def test_what_is_remembered_is_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.steps.resolve.MOST_TARGETS", 2)
    targets, catalog, acme = Targets(), house.registry.catalog(), principal(house, house.keys["acme"])
    for name in ("triage", "acme/triage", "triage@1.0", "triage@1.1"):
        assert targets.of(acme, name, catalog) == resolve(acme, name, catalog)
    assert len(targets._by_key) <= 2
