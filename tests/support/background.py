"""Responses that are made in the background, by an engine that takes its time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.stack import Stack
from tests.support.waiting import wait_until

SLOW_MS = 20.0
"""Of a token."""


@contextmanager
def slowly(stack: Stack) -> Iterator[Stack]:
    """The engine takes its time; at the end nothing runs in the background any more."""
    stack.faults(token_ms=SLOW_MS)
    yield stack
    wait_until("background responses to end", lambda: not archive(stack).runs._tasks)


def archive(stack: Stack) -> Any:
    """What the gateway stores answers in."""
    assert stack.gateway.house is not None
    return stack.gateway.house.archive
