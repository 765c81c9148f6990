"""The process that looks at answers (`child.py`), as its parent has it. It blocks: for a thread."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from gateway.scoring.child import HEAD
from gateway.tap import Tap

DEADLINE_S = 60.0
"""For a group of answers; then the process is ended, and begun anew with the next group."""
COMMAND = (sys.executable, "-m", "gateway.scoring.child")
HOME = Path(__file__).parents[2]
"""Where the packages are, if they are not installed."""
NICENESS = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """What is said of one answer."""

    found: dict[str, float]
    unscored: str | None
    """Why not all of it was looked at."""


NOTHING = Finding({}, "failed")


class Looking:
    """One process, while there is something to look at. Not for several threads at once."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def look(self, taps: Sequence[Tap]) -> list[Finding]:
        """What is found in each. Of a group in which the process ended nothing is known."""
        if not taps:
            return []
        process = self._process = self._process or _start()
        assert process.stdin is not None
        assert process.stdout is not None
        watchdog = threading.Timer(DEADLINE_S, process.kill)
        watchdog.start()
        try:
            process.stdin.write(b"".join(piece for tap in taps for piece in _frame(tap)))
            process.stdin.flush()
            lines = [process.stdout.readline() for _ in taps]
            return [_finding(line) for line in lines]
        except (OSError, ValueError):
            self.close()
            return [NOTHING for _ in taps]
        finally:
            watchdog.cancel()

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _start() -> subprocess.Popen[bytes]:
    """It knows nothing of ours: no settings, no keys. It ends with its input, and so with this process."""
    environment = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return subprocess.Popen(
        ["nice", f"-n{NICENESS}", *COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=HOME,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,
    )


def _frame(tap: Tap) -> tuple[bytes, ...]:
    checks = tap.target.checks
    head = orjson.dumps({"streamed": tap.streamed, "checks": None if checks is None else checks.declared})
    return HEAD.pack(len(head), sum(map(len, tap.chunks))), head, *tap.chunks


def _finding(line: bytes) -> Finding:
    """Raises `ValueError` for what is no line: the process has ended."""
    said: dict[str, Any] = orjson.loads(line)
    return Finding(said["found"], said["unscored"])
