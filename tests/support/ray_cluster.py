"""A real Ray cluster on this machine: a head that takes no work, and nodes to be killed, which see no file of ours."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from loadtest.ports import free_port
from tests.support.on_demand import RAY, ROOT
from tests.support.waiting import DEADLINE_S, wait_until

START_S = 240.0
ANY_WORKER_PORT = ("--min-worker-port=0", "--max-worker-port=0")
"""Else workers have those from 10002 to 19999, and the head must not be told to use one of these."""
OWN_MOUNTS = ("unshare", "--mount")


def can_hide() -> bool:
    """Whether a process may have a view of the disk of its own, in which a folder is empty."""
    return subprocess.run([*OWN_MOUNTS, "true"], capture_output=True).returncode == 0


@dataclass
class Cluster:
    """`address` is the head's for who is on one of its machines, `client_address` for who is not; `hidden` is the
    folder that nodes see empty.
    """

    address: str
    client_address: str
    folder: Path
    hidden: Path
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add_node(self) -> subprocess.Popen[bytes]:
        """One that takes one processor's work, with a home of its own."""
        home = self.folder / f"node-{len(self.nodes)}"
        home.mkdir()
        node = _started(self.folder, home, [f"--address={self.address}", "--num-cpus=1"], self.hidden)
        self.nodes.append(node)
        return node

    def children(self) -> list[psutil.Process]:
        """The processes on nodes that train or check."""
        return [one for one in self._processes() if "trainer.jobs.child" in one.cmdline()]

    def actors(self) -> list[psutil.Process]:
        """The processes on nodes that hold a job."""
        return [one for one in self._processes() if "RemoteJob" in " ".join(one.cmdline())]

    def _processes(self) -> Iterator[psutil.Process]:
        for node in self.nodes:
            if node.poll() is None:
                for one in psutil.Process(node.pid).children(recursive=True):
                    try:
                        one.cmdline()
                    except psutil.Error:
                        continue
                    yield one

    def kill_node(self, node: subprocess.Popen[bytes]) -> None:
        """With all that is on it, at once, as a machine that is gone."""
        kill_all(node)


@contextmanager
def ray_cluster(hidden: Path) -> Iterator[Cluster]:
    """A head, without nodes."""
    port, client_port = free_port(), free_port()
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets below it want a short path
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        options = [f"--port={port}", "--head", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={folder}/ray"]
        options.append(f"--ray-client-server-port={client_port}")
        head = _started(folder, folder, options, None)
        stack.callback(kill_all, head)
        cluster = Cluster(f"127.0.0.1:{port}", f"ray://127.0.0.1:{client_port}", folder, hidden)
        try:
            wait_until("the head of the cluster", lambda: _said(folder, head, "Ray runtime started"), START_S)
            yield cluster
        finally:
            for node in cluster.nodes:
                kill_all(node)


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """It and all that it has started, at once, and wait for it."""
    if process.poll() is None:
        below = psutil.Process(process.pid).children(recursive=True)
        for one in [*below, psutil.Process(process.pid)]:
            try:
                one.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue
    process.wait(DEADLINE_S)


def _started(folder: Path, home: Path, options: list[str], hidden: Path | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *options]
    command += ["--object-store-memory=200000000", *ANY_WORKER_PORT]
    if hidden is not None and can_hide():
        mount = 'mount -t tmpfs none "$0" && exec "$@"'
        command = [*OWN_MOUNTS, "sh", "-c", mount, str(hidden), *command]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHYARD_")}
    environment |= RAY.environment() | {"HOME": str(home), "RAY_memory_monitor_refresh_ms": "0"}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)


def _said(folder: Path, process: subprocess.Popen[bytes], text: str) -> bool:
    log = (folder / "log").read_text("utf-8", "replace")
    assert process.poll() is None, log[-2000:]
    return text in log
