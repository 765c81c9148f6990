"""What the kernel says of processes that it has ended because memory was short."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path("/")
COUNT = "oom_kill"


def oom_kills(root: Path = ROOT) -> int | None:
    """How many it has ended so far, in this process's control group if that is counted (version 2, then 1), else on
    this machine; `None` where nothing says so. `root` holds `proc` and `sys`.
    """
    for file in _counters(root):
        with suppress(OSError, ValueError):
            for line in file.read_text("ascii").splitlines():
                name, _, count = line.partition(" ")
                if name == COUNT:
                    return int(count)
    return None


def _counters(root: Path) -> Iterator[Path]:
    groups = root / "sys" / "fs" / "cgroup"
    with suppress(OSError, ValueError):
        for line in (root / "proc" / "self" / "cgroup").read_text("utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            for group in (path.lstrip("/"), ""):  # a container may see its own group as the root
                if number == "0":
                    yield groups / group / "memory.events"
                elif controllers == "memory":
                    yield groups / "memory" / group / "memory.oom_control"
    yield root / "proc" / "vmstat"
