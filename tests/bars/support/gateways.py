"""Gateways as processes, one or with workers."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.admin_key import known_admin_key
from gateway.serving.children import child
from gateway.serving.supervisor import wait_until_up
from gateway.settings import GatewaySettings
from loadtest.testing import free_port

START_DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """A running gateway. `environment` makes `switchyard` commands talk to it."""

    url: str
    pid: int
    environment: Mapping[str, str]
    log: Path

    def readiness(self) -> dict[str, Any]:
        """What the operator is told."""
        settings = GatewaySettings(state_dir=Path(self.environment["SWITCHYARD_STATE_DIR"]))
        url = self.url
        if listener := self.environment.get("SWITCHYARD_ADMIN_LISTEN"):
            url = settings.model_copy(update={"admin_listen": listener}).admin_url
        headers = {"Authorization": f"Bearer {known_admin_key(settings)}"}
        document: dict[str, Any] = httpx.get(f"{url}/readyz", headers=headers, timeout=5.0).json()
        return document

    def wait_engines(self, count: int) -> None:
        """Return when so many engines take traffic. Raises TimeoutError."""
        ends = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < ends:
            engines = self.readiness()["engines"]
            if list(engines.values()).count("ok") >= count:
                return
            time.sleep(0.05)
        raise TimeoutError(f"{count} engines are not ready: {engines}; see {self.log}")


@contextmanager
def gateway_process(
    state_dir: Path, engine_urls: Sequence[str], *, workers: int = 1, under: Sequence[str] = (), **settings: object
) -> Iterator[GatewayProcess]:
    """A gateway over the registry in `state_dir`, with all its engines ready. `settings` are fields of its settings;
    `under` is a command that becomes the gateway's.
    """
    port = free_port()
    environment = {
        **os.environ,
        "SWITCHYARD_STATE_DIR": str(state_dir),
        "SWITCHYARD_ENGINES": json.dumps(list(engine_urls)),
        "SWITCHYARD_ENGINE_PLATFORM": "cpu",
        "SWITCHYARD_PORT": str(port),
        "SWITCHYARD_STOP_DELAY_S": "0",
        **{f"SWITCHYARD_{name.upper()}": str(value) for name, value in settings.items() if value is not None},
    }
    command = [*under, sys.executable, "-m", "switchyard", "gateway"]
    command += ["--workers", str(workers)] if workers > 1 else []
    url, log = f"http://127.0.0.1:{port}", state_dir.parent / f"gateway-{port}.log"
    with child(command, environment, log, grace_s=30) as process:
        wait_until_up("gateway", f"{url}/readyz", process, log, START_DEADLINE_S)
        gateway = GatewayProcess(url, process.pid, environment, log)
        gateway.wait_engines(len(engine_urls))
        yield gateway
