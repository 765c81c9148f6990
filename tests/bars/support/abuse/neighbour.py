"""The other tenant: it asks at a steady rate from a process of its own, whatever becomes of its earlier requests."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any, NamedTuple

import orjson

from loadtest.client import Client

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "My parcel is late."}]
RATE_PER_S = 20
FRESH_EVERY, COLD_EVERY = 4, 20
"""Every so many requests come by a connection of their own; and ask, where that is wanted, for a cold adapter."""
TIMEOUT_S = 30.0
UNANSWERED = 0


class Asked(NamedTuple):
    """What it asks for while it is measured: `tokens` of each answer; of what is cold only where `cold`."""

    seconds: float
    tokens: int
    cold: bool


class Heard(NamedTuple):
    """One answer: its status (0: none came), seconds from the request to its last byte, and whether its adapter was
    one of those that nobody has asked for in a while.
    """

    status: int
    took_s: float
    cold: bool


@dataclass(frozen=True, slots=True)
class Slice:
    """All answers of one measured time."""

    heard: Sequence[Heard]

    @property
    def refused(self) -> int:
        """Requests that did not get a whole answer."""
        return sum(one.status != 200 for one in self.heard)

    def p95_ms(self) -> float:
        """Of requests for what is in use."""
        times = [one.took_s * 1000 for one in self.heard if not one.cold]
        return quantiles(times, n=20, method="inclusive")[18]

    def cold_ms(self) -> float | None:
        """The longest of requests for what is cold."""
        return max((one.took_s * 1000 for one in self.heard if one.cold), default=None)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A process that asks when it is told to."""

    _pipe: Any
    _process: Any = field(repr=False)

    def begin(self, asked: Asked) -> None:
        """Ask from now on."""
        self._pipe.send(asked)

    def end(self, asked: Asked) -> Slice:
        """What came of it, when all is answered. Raises `TimeoutError`."""
        if not self._pipe.poll(asked.seconds + 2 * TIMEOUT_S):
            raise TimeoutError("the other tenant's process does not answer")
        return Slice(self._pipe.recv())


@contextmanager
def neighbour(url: str, key: str, warm: str, cold: Sequence[str]) -> Iterator[Neighbour]:
    """It uses the adapter `warm`, and now and then one of `cold`, each in its turn."""
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=_ask_when_told, args=(other, url, key, warm, list(cold)), daemon=True)
    process.start()
    try:
        yield Neighbour(pipe, process)
    finally:
        pipe.send(None)
        process.join(TIMEOUT_S)
        process.kill()
        process.join()


def _ask_when_told(pipe: Any, url: str, key: str, warm: str, cold: list[str]) -> None:
    while (asked := pipe.recv()) is not None:
        pipe.send(asyncio.run(_slice(asked, url, key, warm, cold)))


async def _slice(asked: Asked, url: str, key: str, warm: str, cold: list[str]) -> list[Heard]:
    count, began_s = max(1, round(asked.seconds * RATE_PER_S)), time.perf_counter()
    async with Client(url, key) as kept:

        async def ask(number: int) -> Heard:
            await asyncio.sleep(began_s + number / RATE_PER_S - time.perf_counter())
            is_cold = asked.cold and number % COLD_EVERY == COLD_EVERY - 1
            if is_cold:
                cold.append(cold.pop(0))
            model = cold[-1] if is_cold else warm
            body = orjson.dumps({"model": model, "messages": MESSAGES, "max_tokens": asked.tokens, "ignore_eos": True})
            sent_s = time.perf_counter()
            status = UNANSWERED
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    status = await _status(kept, number, url, key, body)
            except (OSError, TimeoutError):
                pass
            return Heard(status, time.perf_counter() - sent_s, is_cold)

        return await asyncio.gather(*map(ask, range(count)))


async def _status(kept: Client, number: int, url: str, key: str, body: bytes) -> int:
    if number % FRESH_EVERY:
        return (await kept.post(CHAT, body)).status
    async with Client(url, key) as fresh:
        return (await fresh.post(CHAT, body)).status
