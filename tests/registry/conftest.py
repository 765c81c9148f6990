"""A registry on real files: one base model, two tenants, and adapters as small as they get."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.adapters.store import Published
from registry.adapters.version_rows import VersionInfo
from registry.names import PRODUCTION, AdapterRef, parse_ref
from registry.service import Registry
from registry.settings import RegistrySettings
from registry.splits.store import SplitInfo
from registry.swaps.following import follow
from registry.swaps.infos import DONE, SwapInfo
from tests.support.adapter_folders import TinyBase, base_tensors, lora_tensors, write_adapter
from tests.support.postgres_server import PostgresServer, postgres_server

TRIAGE = AdapterRef("acme", "triage", None, None)


@pytest.fixture(scope="session")
def stocked_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with two bases, `tiny` and `other`, and the tenants `acme` and `globex`; never written to."""
    folder = tmp_path_factory.mktemp("stocked")
    bases = {"tiny": TinyBase(), "other": TinyBase(tensors=base_tensors(seed=99))}
    with Registry.open(RegistrySettings(state_dir=folder / "state")) as registry:
        for name, base in bases.items():
            registry.bases.register(name, base.write(folder / name))
        for tenant in ("acme", "globex"):
            registry.tenants.create(tenant)
    return folder / "state"


@pytest.fixture
def state_dir(stocked_state: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return shutil.copytree(stocked_state, tmp_path / "state", dirs_exist_ok=True)  # `run` may have made it


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for the session."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def stocked_postgres(postgres: PostgresServer, stocked_state: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database with the same in it; never written to."""
    url, folder = postgres.new_database(), tmp_path_factory.mktemp("stocked-postgres")
    with Registry.open(RegistrySettings(state_dir=folder, database_url=url)) as registry:
        for name in ("tiny", "other"):
            registry.bases.register(name, stocked_state.parent / name)
        for tenant in ("acme", "globex"):
            registry.tenants.create(tenant)
    return url


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What opens the registry runs on both databases, but for modules and tests that say `SQLITE_ALONE` or name one."""
    given = any("database_url" in marker.args[0] for marker in metafunc.definition.iter_markers("parametrize"))
    if "database_url" in metafunc.fixturenames and not given:
        alone = getattr(metafunc.module, "SQLITE_ALONE", False)
        metafunc.parametrize("database_url", ["sqlite"] if alone else ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str | None]:
    """A stocked database for one test, of each kind; `None` is the SQLite file of the state folder.

    It is in the environment too: whatever opens the state folder, in this process or another one, gets it.
    """
    if request.param == "sqlite":
        yield None
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.copy_of(request.getfixturevalue("stocked_postgres"))
    monkeypatch.setenv("SWITCHYARD_DATABASE_URL", url)
    yield url
    server.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without a schema, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'registry.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.empty_database()


@pytest.fixture
def registry(state_dir: Path, database_url: str | None) -> Iterator[Registry]:
    """The copy, open."""
    with Registry.open(RegistrySettings(state_dir=state_dir, database_url=database_url)) as registry:
        yield registry


@pytest.fixture
def make_adapter(tmp_path: Path) -> Callable[[int], Path]:
    """PEFT folders by number; another number has other weights."""

    def make(seed: int) -> Path:
        folder = tmp_path / f"adapter-{seed}"
        return folder if folder.exists() else write_adapter(folder, tensors=lora_tensors(seed=1000 * seed))

    return make


@dataclass
class Shop:
    """Shorthand for what most tests begin with."""

    registry: Registry
    make_adapter: Callable[[int], Path]

    def publish(self, seed: int, *, base: str = "tiny", tenant: str = "acme", adapter: str = "triage") -> Published:
        """The adapter of this number as the next version."""
        return self.registry.adapters.publish(
            tenant=tenant, adapter=adapter, folder=self.make_adapter(seed), base=base, lineage={"source": "test"}
        )

    def versions(self, count: int) -> list[VersionInfo]:
        """`acme/triage@1.0` and on."""
        return [self.publish(seed).version for seed in range(count)]

    def promote(self, name: str, alias: str = "production") -> int:
        """Move the alias as a swap without a gateway does; the revision that shows it."""
        swap = self.registry.swaps.request(parse_ref(name), alias=alias, actor="someone", reason="because")
        revision = self.registry.swaps.flip(swap.id)
        self.registry.swaps.advance(swap.id, DONE)
        return revision

    def split(self, weights: Mapping[str, int], *, alias: str = PRODUCTION, ref: AdapterRef = TRIAGE) -> SplitInfo:
        """Split the alias's traffic as a ramp without a gateway does."""
        return self._split_of(self.registry.swaps.request_ramp(ref, weights, alias=alias, actor="someone"), "split")

    def end_split(self, *, alias: str = PRODUCTION, ref: AdapterRef = TRIAGE) -> SplitInfo:
        """End the alias's split in the same way."""
        return self._split_of(self.registry.swaps.request_ramp_end(ref, alias=alias, actor="someone"), "ended_split")

    def _split_of(self, swap: SwapInfo, key: str) -> SplitInfo:
        swap = follow(self.registry, swap, timeout_s=0)
        assert swap.state == DONE
        history = self.registry.splits.history(parse_ref(swap.adapter))
        return next(split for split in history if split.id == swap.detail[key])


@pytest.fixture
def shop(registry: Registry, make_adapter: Callable[[int], Path]) -> Shop:
    """The open registry with its shorthand."""
    return Shop(registry, make_adapter)
