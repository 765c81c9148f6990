"""The parent's side of the analyst: a child process, alone with numpy, that is asked one question at a time.

Questions and answers are one line of JSON each. An analyst that is gone, or does not answer in time, is killed, and the
next question starts another: what it knows it has from the database, so nothing is lost with it.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson

OWN_SETTINGS = "SWITCHYARD_"
MAX_LINE_BYTES = 1 << 20
MODULE = "gateway.experiments.analyst"


class AnalystGone(Exception):
    """It has died, or did not answer in time; the next question starts another."""


class Analyst:
    """At most one child. Every method blocks, so call them in a thread, one at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    @property
    def pid(self) -> int | None:
        """Of the child that runs, if one does."""
        return None if self._process is None else self._process.pid

    def ask(self, question: Mapping[str, Any], within_s: float) -> dict[str, Any]:
        """What the analyst answers; one is started if none runs. Raises `AnalystGone`."""
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(orjson.dumps(question) + b"\n")
            process.stdin.flush()
            line = self._lines.get(timeout=within_s)
        except queue.Empty:
            self.close()
            raise AnalystGone(f"the analyst has not answered within {within_s:g} s, and was ended") from None
        except OSError:
            line = b""
        if not line:
            status = self._reaped(process)
            raise AnalystGone(f"the analyst ended with status {status}")
        answer: dict[str, Any] = orjson.loads(line)
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
        self._reader = threading.Thread(target=_read, args=(process, lines), name="analyst", daemon=True)
        self._reader.start()
        self._process, self._lines = process, lines
        return process

    def close(self) -> None:
        """End the child, if one runs."""
        if self._process is not None:
            self._process.kill()  # what it had not finished is not in the database
            self._reaped(self._process)

    def _reaped(self, process: subprocess.Popen[bytes]) -> int:
        self._process = None
        process.kill()
        status = process.wait()
        assert self._reader is not None
        self._reader.join()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        return status


def _read(process: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Every line, and an empty one at the end."""
    assert process.stdout is not None
    with suppress(OSError, ValueError):
        while line := process.stdout.readline(MAX_LINE_BYTES):
            lines.put(line)
    lines.put(b"")


def _environment() -> dict[str, str]:
    """One processor for its arithmetic. Our settings stay behind: it is told all that it needs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN_SETTINGS)}
    return {**kept, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")}
