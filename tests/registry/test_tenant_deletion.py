"""A tenant is deleted with all that is its own: no row and no byte of it is left, and none of another tenant's is."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from sqlalchemy import JSON, Boolean, Float, Integer, LargeBinary, Table, select

from registry.adapters.version_rows import VersionInfo
from registry.catalog.reader import read_catalog
from registry.deletion.emptying import LATE_MS
from registry.errors import Conflict, NotFound, Stale
from registry.experiments.plan import Plan
from registry.names import parse_ref
from registry.schema import whole_schema
from registry.service import Registry
from registry.tenant_files.parts import Bounds
from registry.tenants.store import hash_secret
from registry.training.jobs import LeaseLost
from tests.registry.conftest import TRIAGE, Shop
from tests.registry.test_responses import turn
from tests.support.training_parts import running

KEPT = {
    "adapters",
    "admin_actions",
    "audit_lines",
    "alias_events",
    "calibrations",
    "certificates",
    "experiment_decisions",
    "experiments",
    "refusals",
    "shadow_counts",
    "shadow_days",
    "shadows",
    "splits",
    "swaps",
    "tariffs",
    "tenants",
    "usage",
    "usage_corrections",
    "usage_days",
    "versions",
}
"""The books, and the names that they are about."""
ABOUT = {
    "tenant",
    "adapter_id",
    "experiment_id",
    "job_number",
    "key_id",
    "scope",
    "shadow_id",
    "split_id",
    "version_id",
}
"""Columns of what has to do with tenants; foreign keys lead to the rest."""
OF_ENGINES = "engine"
"""So the tables begin that have to do with no tenant."""
MADE = {
    "tenants",
    "adapters",
    "versions",
    "version_proofs",
    "admin_actions",
    "audit_lines",
    "usage_days",
    "stored_amounts",
}
"""Of which the test has rows without making them one by one."""
NUMBERS = count(1_000)


def filled(shop: Shop, tenant: str, version: VersionInfo) -> dict[str, tuple[Any, ...]]:
    """A row of every table that has to do with tenants, with the tenant's own; their primary keys by table."""
    made: dict[str, dict[str, Any]] = {
        "tenants": {"name": tenant},
        "adapters": {"id": None},
        "versions": {"id": version.id},
        "base_models": {"digest": version.base_digest},
    }
    keys: dict[str, tuple[Any, ...]] = {}
    with shop.registry.db.engine.execution_options(switchyard_write=True).begin() as connection:
        tables = whole_schema().tables
        adapters = tables["adapters"].c
        made["adapters"]["id"] = connection.execute(
            select(adapters.id).where(adapters.tenant == tenant, adapters.name == "triage")
        ).scalar_one()
        made_last = ("experiment_feed", "split_units")  # they have no foreign keys to what they are about
        wanted = [table for table in whole_schema().sorted_tables if is_about_tenants(table) and table.name not in MADE]
        for table in sorted(wanted, key=lambda table: table.name in made_last):
            row = made[table.name] = a_row(table, tenant, made)
            connection.execute(table.insert().values(row))
            keys[table.name] = tuple(row[column.name] for column in table.primary_key)
    return keys | {"stored_amounts": (tenant,)}


def a_row(table: Table, tenant: str, made: dict[str, dict[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column in table.columns:
        name, number = column.name, next(NUMBERS)
        if column.foreign_keys:
            other = next(iter(column.foreign_keys)).column
            row[name] = made[other.table.name][other.name]
        elif name == "tenant":
            row[name] = tenant
        elif name in ("adapter_id", "experiment_id", "split_id", "version_id"):
            row[name] = made.get(f"{name.removesuffix('_id')}s", {}).get("id")
        elif name == "scope":
            row[name] = f"adapter:{tenant}/triage" if table.name == "limits" else f"tenant:{tenant}"
        elif name in ("removable_from_ms", "segment"):
            row[name] = None
        elif name == "pieces":
            row[name] = 0
        elif isinstance(column.type, JSON):
            row[name] = {}
        elif isinstance(column.type, LargeBinary):
            row[name] = b"x"
        elif isinstance(column.type, Boolean):
            row[name] = False
        elif isinstance(column.type, Float):
            row[name] = 0.5
        else:
            row[name] = number if isinstance(column.type, Integer) else f"{number}"[: column.type.length]  # type: ignore[attr-defined]
    return row


def is_about_tenants(table: Table) -> bool:
    about = any(column.name in ABOUT or column.foreign_keys for column in table.columns)
    return about and not table.name.startswith(OF_ENGINES)


def there(registry: Registry, table: str, key: tuple[Any, ...]) -> bool:
    found = whole_schema().tables[table]
    of = [column == value for column, value in zip(found.primary_key, key, strict=True)]
    with registry.db.read() as session:
        return session.execute(select(1).select_from(found).where(*of)).first() is not None


def emptied(registry: Registry, tenant: str) -> dict[str, int]:
    removed: dict[str, int] = {}
    for step in registry.deletions.empty(tenant):
        removed[step.what] = removed.get(step.what, 0) + step.count
    return removed


def test_every_table_is_emptied_of_the_tenant_or_kept_for_the_books_and_another_tenant_keeps_all(shop: Shop) -> None:
    registry = shop.registry
    acme = filled(shop, "acme", shop.publish(1).version)
    globex = filled(shop, "globex", shop.publish(2, tenant="globex").version)
    registry.deletions.order("acme")
    assert emptied(registry, "acme")["stored responses"] == 1
    for table, key in globex.items():
        assert there(registry, table, key), table
    for table, key in acme.items():
        assert there(registry, table, key) == (table in KEPT), table
    assert emptied(registry, "acme") == {}


def test_from_the_order_on_there_is_no_such_tenant_for_anybody(shop: Shop) -> None:
    registry = shop.registry
    for tenant in ("acme", "globex"):
        shop.publish(1, tenant=tenant)
    shop.promote("acme/triage@1.0")
    shop.promote("globex/triage@1.0")
    secret = registry.tenants.create_key("acme").secret
    registry.model_names.map("acme", "gpt-4o", "triage")
    before = registry.catalog()
    assert hash_secret(secret) in before.keys
    registry.deletions.order("acme", actor="someone")
    for catalog in (registry.catalog(), read_catalog(registry.db)):  # by what changed, and read whole
        assert not catalog.keys
        assert {tenant for tenant, _ in catalog.adapters} == {"globex"}
        assert not catalog.external
        assert {version.tenant for version in catalog.wanted_versions()} == {"globex"}
    assert [tenant.name for tenant in registry.tenants.all()] == ["globex"]
    assert [registry.tenants.was_deleted(name) for name in ("acme", "globex", "nobody")] == [True, False, False]
    assert {version.tenant for version in registry.adapters.all()} == {"globex"}
    gone = (
        lambda: registry.tenants.get("acme"),
        lambda: registry.tenants.create_key("acme"),
        lambda: registry.adapters.get(parse_ref("acme/triage@1.0")),
        lambda: registry.swaps.request(parse_ref("acme/triage@1.0"), actor="someone"),
        lambda: registry.files.create("acme", "a.jsonl", "fine-tune", [b"x"]),
        lambda: shop.publish(3),
    )
    for ask in gone:
        with pytest.raises(NotFound, match="there is no"):
            ask()
    with pytest.raises(Conflict, match=r"was deleted on .* choose a name that was never used"):
        registry.tenants.create("acme")
    assert registry.actions.page(None, 10, "acme")[0].action == "tenant.deleted"


def test_what_decides_moves_or_trains_ends_with_it(shop: Shop) -> None:
    registry = shop.registry
    shop.versions(3)
    shop.promote("acme/triage@1.0")
    experiment = registry.experiments.create(TRIAGE, Plan.of({"treatments": ["1.1"]}), actor="someone")
    draft = registry.experiments.create(TRIAGE, Plan.of({"treatments": ["1.2"]}), actor="someone", draft=True)
    swap = registry.swaps.pending()[0]
    registry.deletions.order("acme", actor="someone")
    for one in (experiment, draft):
        ended = registry.experiments.get(one.id)
        assert (ended.state, ended.ended_at_ms is not None, ended.moving) == ("stopped", True, False)
        assert registry.experiments.decisions(one.id)[-1].reason == "the tenant was deleted"
        assert registry.experiments.faults(one.id) == []
    assert registry.swaps.pending() == []
    with pytest.raises(Conflict, match="is failed already"):
        registry.swaps.flip(swap.id)


def test_a_worker_that_has_a_job_of_it_loses_the_lease(shop: Shop) -> None:
    jobs = shop.registry.training
    job = running(jobs)
    shop.registry.blobs.write(f"training/{job.id}/5-x.tar", b"state")
    shop.registry.deletions.order(job.tenant)
    assert jobs.renew(job.id, "w-1", 60) == "cancel"
    assert emptied(shop.registry, job.tenant)["training jobs"] == 1
    with pytest.raises(LeaseLost):
        jobs.checkpoint(job.id, "w-1", 6, {}, "training/late")
    assert shop.registry.blobs.names_below("training") == []


def test_bytes_that_another_tenant_has_too_stay_and_all_others_go(shop: Shop) -> None:
    registry, files = shop.registry, shop.registry.version_files
    shared, own = shop.publish(1).version, shop.publish(2).version
    others = shop.publish(1, tenant="globex").version
    assert others.manifest_digest == shared.manifest_digest
    relative = registry.adapters.publish(  # other words about the same weights
        tenant="globex", adapter="again", folder=shop.make_adapter(2), base="tiny", lineage={"source": "elsewhere"}
    ).version
    assert relative.manifest_digest != own.manifest_digest
    stay = files.contents(relative.manifest_digest) | files.contents(others.manifest_digest)
    own_contents = files.contents(own.manifest_digest) - stay
    for version in (shared, own):
        files.materialise(version.manifest_digest)
    registry.deletions.order("acme")
    assert registry.deletions.look("acme").left["versions' files"] == 2
    emptied(registry, "acme")
    assert files.is_whole(others.manifest_digest)
    assert files.is_whole(relative.manifest_digest)
    assert not files.is_whole(own.manifest_digest)
    assert not any(registry.blobs.holds(digest) for digest in own_contents)
    assert registry.deletions.remove_folders({own.id}) == 0  # an engine may read it yet
    assert registry.deletions.remove_folders(()) == 1
    assert files.laid_out() == [others.manifest_digest]


def test_who_publishes_what_is_being_removed_has_all_of_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    registry, files = shop.registry, shop.registry.version_files
    shop.publish(1)
    registry.deletions.order("acme")
    store = files.store

    def removed_meanwhile(*arguments: Any) -> str:
        monkeypatch.setattr(files, "store", store)
        digest = store(*arguments)
        emptied(registry, "acme")
        return digest

    monkeypatch.setattr(files, "store", removed_meanwhile)
    published = shop.publish(1, tenant="globex").version
    assert files.is_whole(published.manifest_digest)


def test_a_file_with_its_bytes_goes_and_one_that_is_being_written_never_becomes_one(shop: Shop) -> None:
    registry = shop.registry
    registry.files.create("acme", "a.jsonl", "fine-tune", [b"secret"])
    kept = registry.files.create("globex", "b.jsonl", "fine-tune", [b"kept"])
    draft = registry.files.begin("acme", Bounds(within_s=0))
    draft.write(b"half")
    registry.deletions.order("acme")
    emptied(registry, "acme")
    with pytest.raises(NotFound):
        registry.files.keep(draft, "c.jsonl", "fine-tune")
    draft.drop()
    registry.files.sweeping.sweep(10)
    assert len(registry.blobs.names_below("tenant-files")) == 1
    assert b"".join(registry.files.content("globex", kept.id)) == b"kept"


def test_who_is_killed_in_the_middle_leaves_a_deletion_that_goes_on(shop: Shop) -> None:
    registry = shop.registry
    for number in range(3):
        registry.files.create("acme", f"{number}.jsonl", "fine-tune", [b"x"])
    shop.versions(3)
    registry.deletions.order("acme")
    steps = registry.deletions.empty("acme")
    next(steps)
    del steps
    left = registry.deletions.look("acme").left
    assert left["versions' files"] == 3
    assert registry.deletions.unfinished() == ["acme"]
    assert registry.deletions.order("acme").left == left  # once more is no error
    emptied(registry, "acme")
    assert registry.deletions.look("acme").left == {}
    assert registry.deletions.unfinished() == ["acme"]  # as a request that was in flight may store something yet


def test_what_was_in_flight_and_is_stored_late_is_removed_and_then_it_is_over(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = shop.registry
    registry.deletions.order("acme")
    emptied(registry, "acme")
    registry.responses.save([registry.responses.sealed(turn("resp_late"))])
    assert emptied(registry, "acme") == {"stored responses": 1, "": 1}
    monkeypatch.setattr("registry.deletion.emptying.LATE_MS", -LATE_MS)
    emptied(registry, "acme")
    assert registry.deletions.unfinished() == []
    for ask in (registry.deletions.look, registry.deletions.order):
        with pytest.raises(NotFound, match="there is no tenant 'acme'"):
            ask("acme")


def test_it_is_deleted_as_it_was_read_or_not_at_all(shop: Shop) -> None:
    with pytest.raises(Stale):
        shop.registry.deletions.order("acme", expected={"another"})
    assert shop.registry.tenants.get("acme").name == "acme"
    with pytest.raises(NotFound):
        shop.registry.deletions.order("nobody")
