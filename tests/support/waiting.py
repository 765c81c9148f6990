"""One way to wait: until something is so, with an end. For threads and for coroutines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
DEADLINE_S = 60.0
"""The end of a wait for what comes at once on a machine that is not busy."""
POLL_S = 0.01


def wait_until(what: str, found: Callable[[], T | None], deadline_s: float = DEADLINE_S) -> T:
    """Poll until `found()` is true, and return it."""
    ends = time.monotonic() + deadline_s
    while not (value := found()):
        assert time.monotonic() < ends, f"waited {deadline_s:g} s for: {what}"
        time.sleep(POLL_S)
    return value


async def wait_until_async(what: str, found: Callable[[], T | None], deadline_s: float = DEADLINE_S) -> T:
    """Poll until `found()` is true, and return it; the event loop goes on meanwhile."""
    ends = time.monotonic() + deadline_s
    while not (value := found()):
        assert time.monotonic() < ends, f"waited {deadline_s:g} s for: {what}"
        await asyncio.sleep(POLL_S)
    return value


async def never(what: str, found: Callable[[], object], for_s: float = 0.4) -> None:
    """`found()` stays false for a while."""
    ends = time.monotonic() + for_s
    while time.monotonic() < ends:
        assert not found(), what
        await asyncio.sleep(POLL_S)
