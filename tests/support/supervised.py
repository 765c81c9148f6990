"""`supervise` in a process of its own, as `switchyard up` runs it, with children that a test chooses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from gateway.serving.supervisor import Role
from tests.support.program import running
from tests.support.waiting import DEADLINE_S, wait_until

SUPERVISOR = """
import json, sys
from pathlib import Path
from gateway.serving.children import Stopped, stop_signals
from gateway.serving.supervisor import Role, StartFailed, supervise
from switchyard import console
from switchyard.console import say
roles, logs = json.loads(sys.argv[1]), Path(sys.argv[2])
try:
    with stop_signals() as signals:
        supervise([Role(**role) for role in roles], logs, lambda: say("READY"), signals, console)
except Stopped:
    say("STOPPED")
except StartFailed as error:
    say(f"FAILED {error}")
"""
SERVER = """
import http.server, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/end":
            print(sys.argv[2], flush=True)
            os._exit(int(sys.argv[3]))
        self.send_response(503 if os.path.exists(sys.argv[4]) else 200)
        self.end_headers()
    def log_message(self, *arguments):
        print("INFO:     access", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_gone(pid: int) -> None:
    wait_until("a child to be gone", lambda: gone(pid))


class Supervised:
    """The supervisor's process, and what it has said."""

    def __init__(self, roles: Sequence[Role], logs: Path) -> None:
        documents = json.dumps([asdict(role) for role in roles])
        self.process = subprocess.Popen(running(SUPERVISOR, documents, str(logs)), stdout=subprocess.PIPE, text=True)
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.said += iter(self.process.stdout.readline, "")

    def wait_for(self, text: str, times: int = 1) -> str:
        """The line with this text; the last of so many."""
        return wait_until(
            f"{text!r} in {self.said}",
            lambda: next(iter([line for line in list(self.said) if text in line][times - 1 :]), None),
        )

    def child(self, marker: str) -> psutil.Process:
        """The child whose command line has the marker in it."""

        def found() -> psutil.Process | None:
            for process in psutil.Process(self.process.pid).children(recursive=True):
                try:
                    if any(marker in part for part in process.cmdline()):
                        return process
                except psutil.Error:
                    continue
            return None

        return wait_until(f"a child with {marker}", found)

    def end(self, number: signal.Signals) -> str:
        """Send a signal; what was said until the end."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> str:
        """What was said until the end."""
        self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return "".join(self.said)


@contextmanager
def supervised(roles: Sequence[Role], logs: Path) -> Iterator[Supervised]:
    """Running for the time of the block; nothing of it is left after it."""
    running = Supervised(roles, logs)
    try:
        yield running
    finally:
        family = psutil.Process(running.process.pid).children(recursive=True) if running.process.poll() is None else []
        running.process.terminate()
        running.wait()
        for process in family:
            wait_gone(process.pid)


def server_role(port: int, folder: Path, *, words: str = "", status: int = 1, **changed: Any) -> Role:
    """A child that answers 200, or 503 while `folder/dead` is there, and ends at `/end` with these words."""
    url = f"http://127.0.0.1:{port}"
    fields: dict[str, Any] = {
        "name": "engine",
        "doing": "starting",
        "url": url,
        "command": [sys.executable, "-c", SERVER, str(port), words, str(status), str(folder / "dead")],
        "environment": dict(os.environ),
        "ready_url": url,
        "alive_url": url,
        "start_timeout_s": 20.0,
        "first_pause_s": 0.05,
        "meanwhile": "requests get a 503",
    }
    return Role(**{**fields, **changed})
