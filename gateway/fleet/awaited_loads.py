"""Loads that a worker's requests wait for: one question to the controller for all who wait for the same."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from gateway.fleet.link import ControllerLink
from gateway.fleet.view import ColdAdapterFailed
from gateway.fleet.wire import Ensure, Ensured
from registry.catalog.snapshot import VersionEntry

ASK_AGAIN_S = 5.0
"""A load that is waited for is asked for again so often: an answer that gets lost must not be waited for."""


@dataclass(slots=True)
class _Waiting:
    """A load that was asked for, and the requests that wait for it. It ends with an answer or with its last request."""

    question: Ensure
    ended: asyncio.Future[None]
    asked_s: float
    requests: int = 0


class AwaitedLoads:
    """Of one worker."""

    def __init__(self, link: ControllerLink) -> None:
        self._link = link
        self._waiting: dict[tuple[str, int, bool], _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, engine_url: str, version: VersionEntry, *, proven: bool) -> None:
        """Return when a version is resident on an engine, or there at all if it need not be `proven`. Raises
        `ColdAdapterFailed`.

        Without a controller it waits for the next one, for as long as the caller lets it: callers bound their waiting,
        and nothing is left of a question that nobody waits for.
        """
        key = (engine_url, version.id, proven)
        waiting = self._waiting.get(key)
        if waiting is None:
            ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting = _Waiting(Ensure(next(self._link.ids), *key), ended, time.monotonic())
            self._waiting[key] = waiting
            self._link.send(waiting.question)
        waiting.requests += 1
        try:
            await asyncio.shield(waiting.ended)  # a client that goes away must not cancel what others wait for
        finally:
            waiting.requests -= 1
            if not waiting.requests and self._waiting.get(key) is waiting:
                del self._waiting[key]

    def end(self, answer: Ensured) -> None:
        """The controller says how a load ended."""
        for key, waiting in list(self._waiting.items()):
            if waiting.question.id != answer.id:
                continue
            del self._waiting[key]
            if answer.failure:
                waiting.ended.set_exception(
                    ColdAdapterFailed(answer.failure, permanent=answer.permanent, tenants_own=answer.tenants_own)
                )
                waiting.ended.exception()  # marked as seen: every client that waited may have gone away
            else:
                waiting.ended.set_result(None)

    def ask_again(self, *, older_than_s: float | None = None) -> None:
        """Repeat what was asked longer ago than that."""
        now = time.monotonic()
        for waiting in self._waiting.values():
            if now - waiting.asked_s >= (ASK_AGAIN_S if older_than_s is None else older_than_s):
                waiting.asked_s = now
                self._link.send(waiting.question)
