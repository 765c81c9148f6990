"""A catalog brought up to date by what changed is the catalog read whole, whatever was done in between."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, event, func, insert, select, update

from registry.adapters.rows import Alias
from registry.catalog import changes
from registry.catalog.changes import WATCHED, Change
from registry.catalog.reader import MOST_CHANGES, read_catalog, update_catalog
from registry.catalog.snapshot import Catalog
from registry.db import Database, now_ms
from registry.errors import RegistryError
from registry.names import parse_ref
from registry.service import Registry
from registry.tables import CatalogChange
from registry.tenants.rows import ModelMap, Tenant
from tests.registry.conftest import Shop
from tests.support.adapter_folders import TinyBase, base_tensors


class Clerk:
    """Does one thing or another to a registry, by chance, as people do: some of it is refused."""

    def __init__(self, shop: Shop, chance: random.Random, bases: Callable[[int], Path]) -> None:
        self._shop, self._registry, self._chance, self._bases = shop, shop.registry, chance, bases

    def work(self) -> None:
        tasks = [getattr(type(self), name) for name in vars(type(self)) if not name.startswith("_") and name != "work"]
        with suppress(RegistryError):
            self._chance.choice(tasks)(self)

    def _tenant(self) -> str:
        return self._chance.choice(self._registry.tenants.all()).name

    def _version(self) -> Any:
        return self._chance.choice(self._registry.adapters.all())

    def _ref(self) -> Any:
        version = self._version()
        return parse_ref(f"{version.tenant}/{version.adapter}")

    def _alias(self) -> str:
        return self._chance.choice(["production", "canary"])

    def create_tenant(self) -> None:
        self._registry.tenants.create(f"tenant-{self._chance.randrange(5)}", allow_unknown_fields=True)

    def set_flag(self) -> None:
        self._registry.tenants.change(self._tenant(), {"allow_unknown_fields": self._chance.random() < 0.5})

    def create_key(self) -> None:
        self._registry.tenants.create_key(self._tenant(), scopes=self._chance.choice([("inference",), ("base",)]))

    def revoke_key(self) -> None:
        if keys := self._registry.tenants.list_keys():
            self._registry.tenants.revoke_key(self._chance.choice(keys).id)

    def map_model(self) -> None:
        version = self._version()
        external = f"ft:org/{self._chance.randrange(4)}"
        self._registry.model_names.map(version.tenant, external, f"{version.adapter}@{version.version}")

    def unmap_model(self) -> None:
        self._registry.model_names.unmap(self._tenant(), f"ft:org/{self._chance.randrange(4)}")

    def register_base(self) -> None:
        number = self._chance.randrange(3)
        self._registry.bases.register(f"base-{number}", self._bases(number))

    def publish(self) -> None:
        base, adapter = self._chance.choice(["tiny", "other"]), self._chance.choice(["triage", "answers"])
        self._shop.publish(self._chance.randrange(6), base=base, tenant=self._tenant(), adapter=adapter)

    def promote(self) -> None:
        self._shop.promote(self._version().name, alias=self._alias())

    def rollback(self) -> None:
        swap = self._registry.swaps.request_rollback(self._ref(), alias=self._alias(), actor="someone")
        self._registry.swaps.flip(swap.id)
        self._registry.swaps.advance(swap.id, "done")

    def quarantine(self) -> None:
        if self._chance.random() < 0.3:
            self._registry.adapters.quarantine(self._version().id, "it answers with the base's words")

    def start_split(self) -> None:
        version = self._version()
        numbers = [str(other.version) for other in self._registry.adapters.all() if other.adapter == version.adapter]
        weights = dict.fromkeys(self._chance.sample(numbers, min(2, len(numbers))), 5000)
        self._shop.split(weights, alias=self._alias(), ref=self._ref())

    def end_split(self) -> None:
        self._shop.end_split(alias=self._alias(), ref=self._ref())


@pytest.fixture
def bases(tmp_path: Path) -> Callable[[int], Path]:
    def write(number: int) -> Path:
        folder = tmp_path / f"base-{number}"
        return folder if folder.exists() else TinyBase(tensors=base_tensors(seed=number)).write(folder)

    return write


@pytest.mark.parametrize("seed", range(6))
def test_after_any_sequence_of_operations_the_updated_catalog_is_the_one_read_whole(
    shop: Shop, bases: Callable[[int], Path], seed: int
) -> None:
    chance = random.Random(seed)
    shop.versions(2)
    clerk = Clerk(shop, chance, bases)
    known = read_catalog(shop.registry.db)
    for _ in range(40):
        for _ in range(chance.randrange(1, 4)):
            clerk.work()
        known = update_catalog(shop.registry.db, known)
        assert known == read_catalog(shop.registry.db)
        assert all(known.versions_by_id[version.id] is version for version in known.wanted_versions())
    assert known.revision > 20


def test_an_update_shares_with_the_catalog_before_it_whatever_did_not_change(shop: Shop) -> None:
    shop.publish(0, tenant="globex", adapter="sentiment")
    shop.versions(2)
    before = shop.registry.catalog()
    shop.promote("acme/triage@1.0")
    after = shop.registry.catalog()
    assert after.adapters["globex", "sentiment"] is before.adapters["globex", "sentiment"]
    assert (after.keys is before.keys, after.external is before.external, after.bases is before.bases) == (True,) * 3
    assert after.adapters["acme", "triage"] is not before.adapters["acme", "triage"]
    assert shop.registry.catalog() is after


def test_the_tables_that_the_catalog_is_read_from_are_the_ones_whose_changes_are_noted(shop: Shop) -> None:
    read: set[str] = set()

    def look(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        read.update(re.findall(r"(?:FROM|JOIN) (\w+)", statement))

    event.listen(shop.registry.db.engine, "before_cursor_execute", look)
    read_catalog(shop.registry.db)
    watched = {model.__tablename__ for model in WATCHED}
    frozen = {"experiments"}  # of which plans are read, that nobody can change; a split's row comes and goes with them
    assert read == watched | frozen | {"catalog_revision", "catalog_changes"}


@pytest.mark.parametrize("statement", [update(Tenant), delete(Tenant), insert(Tenant).values(name="initech")], ids=str)
def test_a_statement_that_writes_the_catalog_past_the_session_is_refused(registry: Registry, statement: Any) -> None:
    with pytest.raises(TypeError, match="writes tenants past the session"), registry.db.write() as session:
        session.execute(statement)


def told(registry: Registry, revision: int) -> set[Change]:
    with registry.db.read() as session:
        rows = session.scalars(select(CatalogChange).where(CatalogChange.revision == revision))
        return {Change(row.kind, row.key) for row in rows}


def test_one_transaction_is_one_revision_that_names_each_thing_once(registry: Registry) -> None:
    before = registry.db.catalog_revision()
    with registry.db.write() as session:
        session.get_one(Tenant, "acme").allow_unknown_fields = True
        revision = session.catalog_revision()
        session.get_one(Tenant, "globex").allow_unknown_fields = True
        session.flush()
        session.get_one(Tenant, "acme").allow_unknown_fields = False
        session.add(ModelMap(tenant="acme", external="gpt/4", target="triage", created_at_ms=1))
        assert session.catalog_revision() == revision
    assert registry.db.catalog_revision() == revision == before + 1
    assert told(registry, revision) == {
        Change("tenant", "acme"),
        Change("tenant", "globex"),
        Change("model_map", "acme/gpt/4"),
    }


def test_a_transaction_that_fails_tells_nothing(registry: Registry) -> None:
    before = registry.db.catalog_revision()
    with suppress(ZeroDivisionError), registry.db.write() as session:
        session.get_one(Tenant, "acme").allow_unknown_fields = True
        assert session.catalog_revision() == before + 1
        raise ZeroDivisionError
    assert registry.db.catalog_revision() == before
    assert told(registry, before + 1) == set()


def test_history_is_bounded_and_a_catalog_older_than_it_is_read_whole(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "KEPT_REVISIONS", 20)
    old = registry.catalog()
    key = registry.tenants.create_key("globex")
    for number in range(25):
        registry.tenants.change("acme", {"allow_unknown_fields": number % 2 == 0})
    with registry.db.read() as session:
        assert session.scalar(select(func.count()).select_from(CatalogChange)) == 20
    newest = update_catalog(registry.db, old)
    assert newest == read_catalog(registry.db)
    assert key.id in {entry.key_id for entry in newest.keys.values()}


def test_more_changes_than_are_worth_asking_for_are_read_whole(registry: Registry) -> None:
    registry.tenants.create_key("acme")
    before = registry.catalog()
    with registry.db.write() as session:
        session.add_all(
            ModelMap(tenant="acme", external=f"gpt-{number}", target="triage", created_at_ms=now_ms())
            for number in range(MOST_CHANGES + 1)
        )
    after = registry.catalog()
    assert len(after.external) == MOST_CHANGES + 1
    assert after.keys is not before.keys
    assert after == read_catalog(registry.db)


def test_as_many_changes_as_are_asked_for_by_name_fit_into_one_question(registry: Registry) -> None:
    before = registry.catalog()
    with registry.db.write() as session:
        session.add_all(
            ModelMap(tenant="acme", external=f"gpt-{number}", target="triage", created_at_ms=now_ms())
            for number in range(MOST_CHANGES)
        )
    after = registry.catalog()
    assert len(after.external) == MOST_CHANGES
    assert after.keys is before.keys


def test_after_an_older_database_is_put_back_the_catalog_is_read_whole(state_dir: Path, tmp_path: Path) -> None:
    path, kept = state_dir / "registry.db", tmp_path / "kept.db"
    shutil.copyfile(path, kept)
    with closing(Database(f"sqlite:///{path}")) as db:
        with db.write() as session:
            session.add(ModelMap(tenant="acme", external="gpt-4o", target="triage", created_at_ms=1))
        ahead = read_catalog(db)
    shutil.copyfile(kept, path)
    with closing(Database(f"sqlite:///{path}")) as db:
        back = update_catalog(db, ahead)
        assert back == read_catalog(db)
        assert (dict(back.external), back.revision) == ({}, ahead.revision - 1)


@contextmanager
def before_statement(db: Database, number: int, act: Callable[[], None]) -> Iterator[None]:
    """Inside the block, `act` runs before the statement of this number, counted from 1, that `db` sends."""
    count = 0

    def look(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == number:
            act()

    event.listen(db.engine, "before_cursor_execute", look)
    yield
    event.remove(db.engine, "before_cursor_execute", look)
    assert count >= number


@pytest.mark.parametrize("whole", [True, False], ids=["read whole", "updated"])
@pytest.mark.parametrize("statement", range(3, 7))  # 1 begins, 2 reads the revision, and with it the snapshot is taken
def test_what_is_committed_while_a_catalog_is_read_is_all_in_the_next_one(
    shop: Shop, whole: bool, statement: int
) -> None:
    first, second = shop.versions(2)
    for alias in ("production", "stable"):
        shop.promote(first.name, alias=alias)
    known = read_catalog(shop.registry.db)
    shop.registry.tenants.create_key("acme")
    shop.publish(2)

    def move_both_aliases() -> None:
        with closing(Database(shop.registry.db.url)) as elsewhere, elsewhere.write() as session:
            for alias in session.scalars(select(Alias)):
                alias.version_id = second.id

    def pointed_at(catalog: Catalog) -> set[str]:
        return {version.number for version in catalog.adapters["acme", "triage"].aliases.values()}

    with before_statement(shop.registry.db, statement, move_both_aliases):
        during = read_catalog(shop.registry.db) if whole else update_catalog(shop.registry.db, known)
    assert (during.revision, pointed_at(during)) == (known.revision + 2, {"1.0"})
    after = update_catalog(shop.registry.db, during)
    assert (after.revision, pointed_at(after)) == (known.revision + 3, {"1.1"})
    assert after == read_catalog(shop.registry.db)
