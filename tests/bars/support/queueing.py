"""Time that other programs on the machine took from this one: it must not count against what a bar measures."""

from __future__ import annotations

from pathlib import Path

SCHEDSTAT = Path("/proc/thread-self/schedstat")


def queued_s() -> float:
    """Seconds since it began in which this thread could run and had no processor; 0 where the kernel is silent."""
    try:
        return int(SCHEDSTAT.read_text().split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0
