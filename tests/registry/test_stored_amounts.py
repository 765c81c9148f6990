"""How much each tenant has stored is known at any time, whatever is done."""

from __future__ import annotations

from base64 import b64encode

import pytest
from sqlalchemy import text

from registry.errors import InvalidInput
from registry.responses.retention import Retention
from registry.responses.sealing import Keyring
from registry.service import Registry
from tests.registry.test_responses import EVER, said, save, turn

REALLY = (
    "SELECT tenant, count(*), sum(length) FROM ("
    "SELECT tenant, length(turn) + length(document) AS length FROM responses "
    "UNION ALL SELECT tenant, length(about) FROM conversations "
    "UNION ALL SELECT tenant, length(item) FROM conversation_items) AS one GROUP BY tenant"
)


def amounts(registry: Registry) -> dict[str, tuple[int, int]]:
    """As they are known; and they are right."""
    with registry.db.read() as session:
        really = {tenant: (count, length) for tenant, count, length in session.execute(text(REALLY))}
    known = registry.responses.amounts(["acme", "globex"])
    assert {tenant: amount for tenant, amount in known.items() if amount != (0, 0)} == really
    return known


def test_every_way_to_store_change_and_delete_is_counted(registry: Registry) -> None:
    assert amounts(registry) == {}
    save(registry, turn("resp_1"), turn("resp_2", tenant="globex"), turn("resp_3"))
    assert {tenant: records for tenant, (records, _) in amounts(registry).items()} == {"acme": 2, "globex": 1}
    made = registry.conversations.create("acme", [said("Hi"), said("you")], {"about": "x" * 500})
    save(registry, turn("resp_4", conversation_id=made.id), turn("resp_5", status="queued", worker="w-1"))
    assert amounts(registry)["acme"][0] == 9
    registry.responses.end(turn("resp_5", document=b'{"output":[],"status":"completed","a":"bcdefghijk"}'))
    registry.conversations.set_metadata("acme", made.id, EVER, {})
    (item, *_) = registry.conversations.page("acme", made.id, EVER, None, 5, "asc").items
    registry.conversations.delete_item("acme", made.id, EVER, item["id"])
    assert amounts(registry)["acme"][0] == 8
    Retention(registry.db, Keyring(b64encode(bytes(32)).decode() + ",plain")).reseal()
    amounts(registry)
    registry.conversations.delete("acme", made.id, EVER)
    registry.responses.delete("acme", "resp_1", EVER)
    assert amounts(registry)["acme"][0] == 3
    registry.retention.delete("acme")
    assert amounts(registry) == {"acme": (0, 0), "globex": amounts(registry)["globex"]}
    assert [one.tenant for one in registry.responses.kept()] == ["globex"]


def test_conversations_alone_are_listed_too(registry: Registry) -> None:
    registry.conversations.create("acme", [said("Hi")], {})
    (kept,) = registry.responses.kept()
    assert (kept.tenant, kept.responses, kept.records, kept.oldest_ms) == ("acme", 0, 2, None)


@pytest.mark.parametrize("field", ["max_stored_records", "max_stored_bytes"])
def test_how_much_a_tenant_may_have_is_a_setting_of_its_own(registry: Registry, field: str) -> None:
    changed = registry.tenants.change("acme", {field: 0})  # type: ignore[misc]
    assert getattr(changed, field) == 0
    assert changed.etag != registry.tenants.change("acme", {field: None}).etag  # type: ignore[misc]
    with pytest.raises(InvalidInput, match=f"{field} is -1; expected 0 to"):
        registry.tenants.change("acme", {field: -1})  # type: ignore[misc]
