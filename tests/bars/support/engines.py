"""Engines as processes that can be killed and brought back at the same address; mock ones can also be hung."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from gateway.serving.children import child
from loadtest.ports import free_port

START_DEADLINE_S = 30.0


class EngineProcess:
    """One engine. Start and restart it from one thread that lives as long as it: the kernel ends it with that."""

    def __init__(
        self,
        log: Path,
        port: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        start_deadline_s: float = START_DEADLINE_S,
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        self._command = list(command)
        self._environment = environment
        self._start_deadline_s = start_deadline_s
        self._running = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs, or ran last."""
        assert self._process is not None
        return self._process.pid

    def start(self, *options: str) -> None:
        """Begin a new boot, with more options if given; it listens a moment later."""
        self._process = self._running.enter_context(child([*self._command, *options], self._environment, self._log))

    def kill(self) -> None:
        """kill -9, whatever state it is in; returns when it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._running.close()

    def wait_healthy(self) -> float:
        """Poll /health until it is 200 and return when that was, in unix seconds. Raises TimeoutError."""
        ends = time.monotonic() + self._start_deadline_s
        while time.monotonic() < ends:
            try:
                if httpx.get(f"{self.url}/health", timeout=1.0).status_code == 200:
                    return time.time()
            except httpx.HTTPError:
                pass
            time.sleep(0.02)
        raise TimeoutError(f"the engine at {self.url} is not healthy; see {self._log}")

    def fault(self, **patch: Any) -> None:
        """Change the mock's faults."""
        httpx.post(f"{self.url}/mock/faults", json=patch, timeout=5.0).raise_for_status()

    def forget(self) -> None:
        """Lose every adapter that is loaded now, behind everybody's back."""
        with httpx.Client(timeout=5.0) as http:
            for name in self.state()["loaded"]:
                http.post(f"{self.url}/mock/faults", json={"forget_adapter": name})  # 404: unloaded meanwhile

    def state(self) -> dict[str, Any]:
        """The mock's counters."""
        state: dict[str, Any] = httpx.get(f"{self.url}/mock/state", timeout=5.0).raise_for_status().json()
        return state


@contextmanager
def engine_processes(folder: Path, count: int, *options: str) -> Iterator[list[EngineProcess]]:
    """So many mock engines with the same options, healthy; gone after the block."""
    engines = [_mock(folder, free_port(), options) for _ in range(count)]
    try:
        for engine in engines:
            engine.start()
        for engine in engines:
            engine.wait_healthy()
        yield engines
    finally:
        for engine in engines:
            engine.kill()


def _mock(folder: Path, port: int, options: Sequence[str]) -> EngineProcess:
    command = [sys.executable, "-m", "loadtest.mock_engine", "--port", str(port), *options]
    return EngineProcess(folder / f"engine-{port}.log", port, command, os.environ)
