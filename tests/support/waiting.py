"""One way to wait: until something is so, with an end. For threads and for coroutines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
DEADLINE_S = 60.0
"""The end of a wait for what comes at once on a machine that is not busy."""
POLL_S, LONGEST_POLL_S = 0.01, 0.05
"""What is waited for often costs more to look at than to wait for: the longer it takes, the less often it is looked at.
"""
PART = 0.1
"""Of a wait, for which it is not looked at."""


def _pause_s(began_s: float) -> float:
    return min(LONGEST_POLL_S, max(POLL_S, PART * (time.monotonic() - began_s)))


def wait_until(what: str, found: Callable[[], T | None], deadline_s: float = DEADLINE_S) -> T:
    """Poll until `found()` is true, and return it."""
    began = time.monotonic()
    while not (value := found()):
        assert time.monotonic() < began + deadline_s, f"waited {deadline_s:g} s for: {what}"
        time.sleep(_pause_s(began))
    return value


async def wait_until_async(what: str, found: Callable[[], T | None], deadline_s: float = DEADLINE_S) -> T:
    """Poll until `found()` is true, and return it; the event loop goes on meanwhile."""
    began = time.monotonic()
    while not (value := found()):
        assert time.monotonic() < began + deadline_s, f"waited {deadline_s:g} s for: {what}"
        await asyncio.sleep(_pause_s(began))
    return value


async def never(what: str, found: Callable[[], object], for_s: float = 0.4) -> None:
    """`found()` stays false for a while."""
    ends = time.monotonic() + for_s
    while time.monotonic() < ends:
        assert not found(), what
        await asyncio.sleep(POLL_S)
