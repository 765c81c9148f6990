"""Several questions at the same time, whose answers come in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def each_in_order(work: Callable[[T], R], things: Iterable[T], at_once: int) -> Generator[R, None, None]:
    """What is made of each, in order, some at the same time; little more is begun than somebody waits for.

    What raises ends it; so does who closes it.
    """
    with ThreadPoolExecutor(at_once, "asking") as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for thing in things:
                waiting.append(pool.submit(work, thing))
                if len(waiting) > at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
