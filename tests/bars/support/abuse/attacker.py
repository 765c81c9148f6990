"""A process that attacks: it comes from other addresses than the other tenant, and yields the processors to everybody,
as if its machine was another one.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from registry.children.yielding import yield_processors
from tests.support.wire import read_answer

BEGIN_TIMEOUT_S, END_TIMEOUT_S = 60.0, 30.0
NICE = 10
PAUSE_S = 0.02
"""After a refusal, or a connection that failed."""
ANSWER_TIMEOUT_S = 60.0
KEPT_BYTES = 0
BEGUN = True


@dataclass(slots=True)
class Aim:
    """What an attack is led against and with. `adapters` are its tenant's on the engine that all use, `hung` is its
    model on an engine that nobody else uses.
    """

    url: str
    key: str
    adapters: Sequence[str]
    hung: str
    size: float
    """How many of what there are dozens or more of; 1 is all of the attack."""
    answers: Counter[int] = field(default_factory=Counter)
    """Statuses; 0 is a connection that was refused or broken."""
    begun: Callable[[], object] = bool
    """Called again and again once it is under way."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def head(self, method: str, path: str, *lines: str, key: str | None = None) -> bytes:
        """Of a request, to its end."""
        authorization = f"Authorization: Bearer {self.key if key is None else key}"
        return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: gateway", authorization, *lines, "", "")).encode()

    def post(self, path: str, body: bytes) -> bytes:
        """A whole request with a body."""
        lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
        return self.head("POST", path, *lines) + body


Attack = Callable[[Aim], Awaitable[None]]
"""Goes on until it is cancelled."""


async def connect(aim: Aim, number: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection from one of the attacker's addresses. Raises `OSError`."""
    return await asyncio.open_connection(*aim.address, local_addr=(f"127.0.1.{1 + number % 11}", 0))


async def hammer(aim: Aim, number: int, requests: Callable[[int], bytes]) -> None:
    """One connection after the other, with one request after the other on each."""
    asked = 0
    while True:
        try:
            reader, writer = await connect(aim, number)
        except OSError:
            aim.answers[0] += 1
            await asyncio.sleep(PAUSE_S)
            continue
        try:
            while True:
                writer.write(requests(asked))
                asked += 1
                aim.begun()
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    answer = await read_answer(reader, most_kept=KEPT_BYTES)
                aim.answers[0 if answer is None else answer.status] += 1
                if answer is None or answer.status >= 400:
                    await asyncio.sleep(PAUSE_S)
                if answer is None or answer.headers.get("connection", "").lower() == "close":
                    break
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            aim.answers[0] += 1
            await asyncio.sleep(PAUSE_S)
        finally:
            writer.close()


async def at_once(count: int, one: Callable[[int], Awaitable[None]]) -> None:
    """So many of them, until they are cancelled."""
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(_of(one(number)))


async def _of(work: Awaitable[None]) -> None:
    await work


@dataclass(frozen=True, slots=True)
class Attacker:
    """A process that attacks when it is told to."""

    _pipe: Any

    @contextmanager
    def attacking(self, attack: Attack, aim: Aim) -> Iterator[Counter[int]]:
        """Attack while the block runs; the counter then says what was answered. Raises `RuntimeError`."""
        self._pipe.send((attack, aim))
        answers: Counter[int] = Counter()
        try:
            self._expect(BEGUN, BEGIN_TIMEOUT_S)
            yield answers
        finally:
            self._pipe.send(None)
            answers.update(self._expect(Counter, END_TIMEOUT_S))

    def _expect(self, what: object, timeout_s: float) -> Any:
        if not self._pipe.poll(timeout_s):
            raise RuntimeError(f"the attacker says nothing for {timeout_s:g} s")
        said = self._pipe.recv()
        if said is not what and type(said) is not what:
            raise RuntimeError(f"the attack failed: {said}")
        return said


@contextmanager
def attacker() -> Iterator[Attacker]:
    """One that lives as long as the block."""
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=_attack_when_told, args=(other,), daemon=True)
    process.start()
    try:
        yield Attacker(pipe)
    finally:
        process.kill()
        process.join()


def yield_as_another_machine() -> None:
    """This process leaves the processors to all others."""
    os.setsid()  # what yields is a session, and not a process of the other tenant's
    yield_processors(NICE, os.getpid())


def _attack_when_told(pipe: Any) -> None:
    yield_as_another_machine()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    while True:
        attack, aim = pipe.recv()
        asyncio.run(_until_told(attack, aim, pipe))


async def _until_told(attack: Attack, aim: Aim, pipe: Any) -> None:
    said = False

    def begun() -> None:
        nonlocal said
        if not said:
            said = True
            pipe.send(BEGUN)

    aim.begun = begun
    attacking = asyncio.create_task(_of(attack(aim)))
    ended = asyncio.create_task(asyncio.to_thread(pipe.recv))
    await asyncio.wait((attacking, ended), return_when=asyncio.FIRST_COMPLETED)
    failed = attacking.exception() if attacking.done() else None
    attacking.cancel()
    await asyncio.gather(attacking, return_exceptions=True)
    pipe.send(repr(failed) if failed is not None else aim.answers)
    await ended
