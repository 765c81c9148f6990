"""One real vLLM for the whole session, one gateway in front of it, the two sample tenants inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest
from rich.console import Console

from gateway.embedded import EmbeddedEngine
from gateway.samples import provision
from gateway.supervisor import child, wait_until_up
from loadtest.testing import free_port
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.contract.contract_engine import EngineUnderTest

ROOT = Path(__file__).parents[2]
QUIET = Console(quiet=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("live")
            item.add_marker(pytest.mark.timeout(300))


@dataclass(frozen=True, slots=True)
class Live:
    """A running installation on real parts."""

    url: str
    engine_url: str
    state_dir: Path
    base_folder: Path
    base_name: str
    keys: dict[str, str]

    def registry_settings(self) -> RegistrySettings:
        return RegistrySettings(state_dir=self.state_dir)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "SWITCHYARD_STATE_DIR": str(self.state_dir)}

    def switchyard(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The real command line, in a process of its own."""
        command = [sys.executable, "-m", "switchyard", *arguments]
        return subprocess.run(
            command, env=self.environment(), cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
        )

    def client(self, tenant: str) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=self.keys[tenant], max_retries=0, timeout=120)


@pytest.fixture(scope="session")
def base_folder() -> Path:
    """The default base model, kept in the checkout's state folder between runs."""
    command = [sys.executable, "-m", "switchyard", "base", "prepare", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=True)
    return (ROOT / json.loads(done.stdout)["folder"]).resolve()


@pytest.fixture(scope="session")
def live(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    state_dir = tmp_path_factory.mktemp("live")
    engine = EmbeddedEngine(base_folder, free_port(), "cpu")
    url = f"http://127.0.0.1:{free_port()}"
    with Registry.open(RegistrySettings(state_dir=state_dir)) as registry:
        base = registry.bases.adopt(base_folder)
        keys = provision(registry, ROOT / "examples", base.name, state_dir / "keys.json")
    environment = {
        **os.environ,
        "SWITCHYARD_STATE_DIR": str(state_dir),
        "SWITCHYARD_PORT": url.rpartition(":")[2],
        "SWITCHYARD_ENGINES": json.dumps([engine.url]),
        "SWITCHYARD_ENGINE_PLATFORM": "cpu",
        "SWITCHYARD_ENGINE_MAX_CPU_LORAS": str(engine.max_cpu_loras),
    }
    command = [sys.executable, "-m", "switchyard", "gateway"]
    engine_log, gateway_log = state_dir / "engine.log", state_dir / "gateway.log"
    with (
        child("engine", engine.command(), engine.environment(), engine_log) as engine_process,
        child("gateway", command, environment, gateway_log) as gateway_process,
    ):
        wait_until_up("engine", f"{engine.url}/health", engine_process, engine_log, 240, QUIET)
        wait_until_up("gateway", f"{url}/readyz", gateway_process, gateway_log, 60, QUIET)
        yield Live(url, engine.url, state_dir, base_folder, base.name, keys)


@pytest.fixture
async def engine(live: Live, tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    """The real engine as the contract's cases see it."""
    config = json.loads((live.base_folder / "config.json").read_text())
    async with httpx.AsyncClient(base_url=live.engine_url, timeout=120) as http:
        yield EngineUnderTest(http, "base", 16, 16, 1024, config, tmp_path)
