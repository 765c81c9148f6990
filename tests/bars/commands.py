"""Seconds of the commands that only read, each in a new process, beside a Python that does nothing."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RUNS, LIMIT_S = 5, 0.5
COMMANDS = (
    *("tenants list", "keys list", "adapters list", "swaps list", "limits list", "limits budgets", "tariff list"),
    *("usage", "cost report", "base list"),
)


def run(folder: Path, _scale: float) -> dict[str, Any]:
    """The median of each command, on a registry with one tenant."""
    environment = os.environ | {"SWITCHYARD_STATE_DIR": str(folder)}
    command_line = [sys.executable, "-m", "switchyard"]
    subprocess.run([*command_line, "tenants", "create", "acme"], env=environment, check=True, capture_output=True)
    medians = {text: _median_s([*command_line, *text.split()], environment) for text in COMMANDS}
    slowest = max(medians, key=lambda text: medians[text])
    return {
        "figures": {
            "nothing_s": _median_s([sys.executable, "-c", "pass"], environment),
            "slowest": slowest,
            "slowest_s": medians[slowest],
        },
        "commands_s": medians,
        "bars": {},
        "speed": {f"each reading command within {LIMIT_S} s": medians[slowest] <= LIMIT_S},
    }


def _median_s(command: list[str], environment: dict[str, str]) -> float:
    """Wall time; a run before it warms the caches, and the command must succeed."""
    times = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return round(statistics.median(times[1:]), 3)
