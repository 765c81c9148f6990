"""A tenant's weight at engines that are full."""

from __future__ import annotations

import pytest

from registry.errors import InvalidInput
from registry.service import Registry


def test_a_weight_is_of_all_keys_of_its_tenant_and_one_unless_set(registry: Registry) -> None:
    registry.tenants.create_key("acme")
    before = registry.tenants.get("acme")
    assert before.weight == 1
    changed = registry.tenants.change("acme", {"weight": 5}, expected=[before.etag])
    assert changed.etag != before.etag
    assert [key.weight for key in registry.catalog().keys.values() if key.tenant == "acme"] == [5]


@pytest.mark.parametrize("weight", [0, -1, 1_001])
def test_a_weight_that_is_none_is_refused(registry: Registry, weight: int) -> None:
    with pytest.raises(InvalidInput, match=f"weight is {weight}; expected 1 to 1000") as refused:
        registry.tenants.change("acme", {"weight": weight})
    assert refused.value.param == "weight"
