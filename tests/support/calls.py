"""How many Python functions a gateway in a thread calls for a request: the same number on any machine, however busy."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from operator import and_
from pathlib import Path
from statistics import median_low
from types import FrameType
from typing import Any

from tests.support.stack import Stack
from tests.support.waiting import DEADLINE_S

Calls = Counter[str]
"""`file:function` → how often it was entered: a coroutine is entered each time that it goes on."""


def added_calls(stack: Stack, plain: Callable[[], object], more: Callable[[], object], *, times: int = 24) -> Calls:
    """What each of some requests of `more` calls, and half of those of `plain` at least do not, or not as often: so
    nothing in it comes by the clock, or late.
    """
    usual = _found(stack, plain, times)
    names = {where for calls in usual for where in calls}
    return reduce(and_, _found(stack, more, times)) - Counter(
        {where: median_low(calls[where] for calls in usual) for where in names}
    )


def fewest_calls(stack: Stack, ask: Callable[[], object], *, times: int = 12) -> Calls:
    """Of one request that `ask` makes: the fewest of some, as what the gateway does beside it is no part of it."""
    return min(_found(stack, ask, times), key=Counter.total)


def _found(stack: Stack, ask: Callable[[], object], times: int) -> list[Calls]:
    ask()  # what is found out once
    found = []
    for _ in range(times):
        with _counted(stack) as calls:
            ask()
        found.append(calls)
    return found


@contextmanager
def _counted(stack: Stack) -> Iterator[Calls]:
    """What the gateway's event loop calls while the block runs."""
    calls: Calls = Counter()

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            code = frame.f_code
            calls[f"{Path(code.co_filename).name}:{code.co_qualname}"] += 1

    loop = _loop_of(stack)
    _run_in(loop, lambda: sys.setprofile(note))
    try:
        yield calls
    finally:
        _run_in(loop, lambda: sys.setprofile(None))


def _run_in(loop: asyncio.AbstractEventLoop, do: Callable[[], None]) -> None:
    done = threading.Event()

    def run() -> None:
        do()
        done.set()

    loop.call_soon_threadsafe(run)
    assert done.wait(DEADLINE_S)


def _loop_of(stack: Stack) -> asyncio.AbstractEventLoop:
    client = stack.worker.view().engines[0].client
    return client._idle[-1]._loop
