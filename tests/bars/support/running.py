"""One mock engine and one gateway, each a process of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from gateway.supervisor import child, wait_until_up
from loadtest.testing import free_port
from tests.gateway.stack import House, open_house


@dataclass(frozen=True, slots=True)
class Running:
    """A mock engine and a gateway, each a process of its own."""

    house: House
    engine_url: str
    url: str
    gateway_pid: int
    environment: dict[str, str]


@contextmanager
def running(folder: Path, *mock_options: str) -> Iterator[Running]:
    """Two tenants with two versions of an adapter each, behind a gateway process, in front of a mock engine process."""
    engine_url = f"http://127.0.0.1:{free_port()}"
    quiet = Console(quiet=True)
    with open_house(folder, engines=[engine_url]) as house:
        for tenant, adapter in (("acme", "acme/triage"), ("globex", "globex/sentiment")):
            house.tenant(tenant)
            house.publish(adapter)
            house.publish(adapter)
            house.point(adapter, "1.0")
        environment = {
            **os.environ,
            "SWITCHYARD_STATE_DIR": str(house.settings.state_dir),
            "SWITCHYARD_ENGINES": json.dumps([engine_url]),
            "SWITCHYARD_ENGINE_PLATFORM": "cpu",
            "SWITCHYARD_PORT": str(house.settings.port),
        }
        mock = [sys.executable, "-m", "loadtest.mock_engine", "--port", engine_url.rpartition(":")[2], *mock_options]
        gateway = [sys.executable, "-m", "switchyard", "gateway"]
        url = f"http://127.0.0.1:{house.settings.port}"
        with child(mock, os.environ, folder / "mock.log") as engine_process:
            wait_until_up("mock engine", f"{engine_url}/health", engine_process, folder / "mock.log", 30, quiet)
            with child(gateway, environment, folder / "gateway.log") as process:
                wait_until_up("gateway", f"{url}/readyz", process, folder / "gateway.log", 60, quiet)
                yield Running(house, engine_url, url, process.pid, environment)
