"""Which processors a measured gateway has, and who else may use them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path


def bind(pid: int, processors: Set[int]) -> None:
    """All threads of a process run there from now on, and those that they begin."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), processors)


def shares() -> tuple[set[int], set[int]]:
    """One processor for what is measured, and the others for all else: the same one where there is no other."""
    first, *others = sorted(os.sched_getaffinity(0))
    return {first}, set(others) or {first}


@contextmanager
def apart(gateway: int, engine: int) -> Iterator[None]:
    """The gateway on a processor of its own, where there are two; its engine and we are on the others meanwhile."""
    before = os.sched_getaffinity(0)
    own, others = shares()
    bind(gateway, own)
    bind(engine, others)
    os.sched_setaffinity(0, others)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
