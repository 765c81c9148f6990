"""How much memory a process has, and has had at most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression

LEAST_SHARE = 0.1
"""Of the requests for which growth is told, so many must have been sent."""


def forget_peak(pid: int) -> None:
    """What it has now is its most from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mb(pid: int) -> float:
    """The most that it had since then, in MB (2**20 bytes)."""
    return _field_mb(pid, "VmHWM")


def resident_mb(pid: int) -> float:
    """What it has now."""
    return _field_mb(pid, "VmRSS")


def _field_mb(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def slope(samples: Sequence[tuple[float, float]], over: float) -> float | None:
    """How much memory grows while `over` requests are answered, by samples of (requests, MB): over their later half, as
    what a process needs once is had by then. `None` where there are too few to tell.
    """
    later = samples[len(samples) // 2 :]
    if samples[-1][0] < over * LEAST_SHARE:
        return None
    return linear_regression(*zip(*later, strict=True)).slope * over
