"""Gateways as processes, one or with workers."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from gateway.admin_key import known_admin_key
from gateway.serving.children import child
from gateway.serving.supervisor import wait_until_up
from gateway.settings import GatewaySettings
from loadtest.ports import free_port

START_DEADLINE_S = 60.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """A running gateway. `environment` makes `switchyard` commands talk to it."""

    url: str
    pid: int
    environment: Mapping[str, str]
    log: Path

    @property
    def admin_url(self) -> str:
        """Where operators ask."""
        listener = self.environment.get("SWITCHYARD_ADMIN_LISTEN")
        return self._settings.model_copy(update={"admin_listen": listener}).admin_url if listener else self.url

    def readiness(self) -> dict[str, Any]:
        """What the operator is told."""
        document: dict[str, Any] = self._asked("/readyz").json()
        return document

    def wait_engines(self, count: int) -> None:
        """Return when so many engines take traffic. Raises TimeoutError."""
        self._wait(f"{count} engines", lambda: list(self.readiness()["engines"].values()).count("ok") >= count)

    def wait_workers(self, count: int) -> dict[str, Any]:
        """Return what the operator is told of the fleet when so many workers are known to the registry and serve by
        the newest routes of the controller in office: whichever takes the next connection can answer it. Raises
        TimeoutError.
        """

        def complete() -> dict[str, Any] | None:
            answer = self._asked("/admin/v1/fleet")
            if answer.status_code == 503:  # who answers is not linked, or nobody leads
                return None
            fleet: dict[str, Any] = answer.raise_for_status().json()
            newest = fleet["controller"]["view_revision"]
            ours = [one for one in fleet["workers"] if one["linked"] and one["url"] == self.url]
            return fleet if len(ours) >= count and all(one["view_revision"] == newest for one in ours) else None

        return self._wait(f"{count} workers", complete)

    def children(self, role: str) -> list[psutil.Process]:
        """The processes of a role that live, `worker` or `controller`, the oldest first."""
        found = []
        for one in psutil.Process(self.pid).children():
            with suppress(psutil.NoSuchProcess):
                if one.name().startswith(f"sy {role}") and one.status() != psutil.STATUS_ZOMBIE:
                    found.append(one)
        return sorted(found, key=psutil.Process.create_time)

    @property
    def _settings(self) -> GatewaySettings:
        return GatewaySettings(state_dir=Path(self.environment["SWITCHYARD_STATE_DIR"]))

    def _asked(self, path: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {known_admin_key(self._settings)}"}
        return httpx.get(f"{self.admin_url}{path}", headers=headers, timeout=5.0)

    def _wait(self, what: str, found: Callable[[], T | None]) -> T:
        ends = time.monotonic() + START_DEADLINE_S
        while not (value := found()):
            if time.monotonic() > ends:
                raise TimeoutError(f"{what} are not ready: {self.readiness()}; see {self.log}")
            time.sleep(0.05)
        return value


@contextmanager
def gateway_process(
    state_dir: Path, engine_urls: Sequence[str], *, workers: int = 1, under: Sequence[str] = (), **settings: object
) -> Iterator[GatewayProcess]:
    """A gateway over the registry in `state_dir`, with all its engines and workers ready. `settings` are fields of its
    settings; `under` is a command that becomes the gateway's.
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
        if workers > 1:
            gateway.wait_workers(workers)
        yield gateway
