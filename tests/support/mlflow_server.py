"""A real MLflow tracking server, from the optional package, on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from loadtest.ports import free_port
from tests.support.on_demand import MLFLOW
from tests.support.waiting import wait_until

START_S = 300.0


@contextmanager
def mlflow_server(folder: Path, store: str) -> Iterator[str]:
    """Its URL; what it is told goes into the store at that address, files below the folder."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    where = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--backend-store-uri", store)
    with (folder / "mlflow.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *where, "--artifacts-destination", str(folder / "artifacts")],
            cwd=folder,
            env={**os.environ, **MLFLOW.environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until("the MLflow server", lambda: _answers(url, process, folder / "mlflow.log"), START_S)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def _answers(url: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text("utf-8", "replace")[-2_000:]
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
