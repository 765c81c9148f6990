"""Traffic as a process of its own, and what all of this costs the machine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from loadtest.records import Plan, Record, read_records


@contextmanager
def traffic(folder: Path, plan: Plan) -> Iterator[list[Record]]:
    """Run a plan while the block runs, and wait for its end. The list is filled when the block is left."""
    out, records = folder / "records.jsonl", list[Record]()
    command = [sys.executable, "-m", "loadtest.traffic", str(plan.write(folder / "plan.json")), str(out)]
    with subprocess.Popen(command) as process:
        try:
            yield records
            process.wait(plan.seconds + 2 * plan.timeout_s)
        finally:
            process.kill()
    if process.returncode:
        raise RuntimeError(f"the traffic ended with status {process.returncode}; what it said is above")
    records += read_records(out)


class Busy:
    """How much of the machine is used between two moments: by everybody, and by this process and what it started."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._own = _own_seconds()
        psutil.cpu_percent()

    def percent(self) -> dict[str, float]:
        """Since the beginning, of all cores."""
        seconds = (time.monotonic() - self._began) * (psutil.cpu_count() or 1)
        everybody = psutil.cpu_percent()
        return {"everybody": everybody, "own": round(100 * (_own_seconds() - self._own) / seconds, 1)}


def _own_seconds() -> float:
    own = psutil.Process()
    times = [own.cpu_times()]
    for child in own.children(recursive=True):
        try:
            times.append(child.cpu_times())
        except psutil.NoSuchProcess:
            continue
    return sum(each.user + each.system for each in times) + times[0].children_user + times[0].children_system
