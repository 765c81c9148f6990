"""How many Python functions a gateway in a thread calls for a request: the same number on any machine, however busy."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.stack import Stack
from tests.support.waiting import DEADLINE_S

Calls = Counter[str]
"""`file:function` → how often it was entered: a coroutine is entered each time that it goes on."""


def fewest_calls(stack: Stack, ask: Callable[[], object], *, times: int = 12) -> Calls:
    """Of one request that `ask` makes: the fewest of some, as what the gateway does beside it is no part of it."""
    ask()  # what is found out once
    found = []
    for _ in range(times):
        with _counted(stack) as calls:
            ask()
        found.append(calls)
    return min(found, key=Counter.total)


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
