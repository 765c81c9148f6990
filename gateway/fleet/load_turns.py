"""Whose load is next on each engine, and how soon."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple
from weakref import WeakKeyDictionary

from gateway.engines.managed import ManagedEngine
from gateway.fleet.eviction import Claims
from gateway.fleet.hub import Hub
from gateway.fleet.load_pace import LoadPace, others_run
from gateway.fleet.load_queue import LoadQueue, no_pause

SWAPS = ""
"""In place of a tenant where turns are taken: what an operator waits for is nobody's share, and does not pause."""


class LoadLimits(NamedTuple):
    """Of each tenant on each engine."""

    queued: int = 64
    """Loads that wait for their turn."""
    share: float = 0.2
    """Of the engine's time, that its loads take while others' requests run there."""


class OnEngine(NamedTuple):
    """The turns of one engine."""

    queue: LoadQueue
    pace: LoadPace


class LoadTurns:
    """Of one controller's term."""

    def __init__(self, hub: Hub, claims: Claims, limits: LoadLimits) -> None:
        self._hub = hub
        self._claims = claims
        self._limits = limits
        self._engines: WeakKeyDictionary[ManagedEngine, OnEngine] = WeakKeyDictionary()

    def on(self, engine: ManagedEngine) -> OnEngine:
        """Those of an engine."""
        turns = self._engines.get(engine)
        if turns is None:
            turns = self._engines[engine] = OnEngine(LoadQueue(), LoadPace(self._limits.share))
        return turns

    def too_many(self, engine: ManagedEngine, tenant: str) -> int:
        """How many loads of the tenant wait there, if those are as many as may; else 0."""
        waiting = self.on(engine).queue.waiting(tenant)
        return waiting if waiting >= self._limits.queued else 0

    @asynccontextmanager
    async def turn(self, engine: ManagedEngine, tenant: str) -> AsyncIterator[None]:
        """The engine loads nothing else. What its steps stand still for that counts as its tenant's, while others need
        them.
        """
        turns = self.on(engine)
        pause_s = no_pause if tenant == SWAPS else partial(self.pause_s, engine, tenant)
        async with turns.queue.turn(tenant, pause_s), engine.loading:
            before_s = engine.stood_s
            try:
                yield
            finally:
                if tenant != SWAPS and self._others_run(engine, tenant):
                    turns.pace.took(tenant, engine.stood_s - before_s, time.monotonic())

    def pause_s(self, engine: ManagedEngine, tenant: str) -> float:
        """Before the tenant's next load may begin there; 0: now."""
        left_s = self.on(engine).pace.pause_s(tenant, time.monotonic())
        return left_s if left_s > 0 and self._others_run(engine, tenant) else 0.0

    def _others_run(self, engine: ManagedEngine, tenant: str) -> bool:
        return others_run(engine, tenant, self._hub, self._claims)
