"""What bills are made of: which engines are there, what they count, and how long they were busy on days that are over.

Beside the rounds, which wait for no database that is busy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from gateway.cost.weights import NoFit, fit
from gateway.engines.address import EngineAddress
from gateway.engines.managed import ManagedEngine
from gateway.fleet.duties.beside import Beside
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from gateway.fleet.sampling import Sampling, engine_id_of, kind_name
from registry.days import DAY_MS
from registry.db import now_ms
from registry.engine_costs.spans import SeenEngine
from registry.service import Registry

EVERY_S = 60.0
CLOSE_EVERY_S = 900.0
"""Between two looks for days that are over and not kept, or have more attempts than when they were."""
FIT_EVERY_MS = DAY_MS
ANSWERING = ("up", "slow", "draining", "hung", "starting", "refused")
"""States of an engine that is there, whether or not it serves."""


class KeepCosts:
    """Once a minute."""

    name = "costs"

    def __init__(
        self, registry: Registry, engines: Sequence[ManagedEngine], sampling: Sampling, errands: Errands
    ) -> None:
        self._registry = registry
        self._engines = engines
        self._sampling = sampling
        self._beside = Beside(errands, EVERY_S)
        self._closed_s = float("-inf")

    def is_due(self, this: Round) -> bool:
        """When the round reconciles."""
        return this.reconciles

    async def do(self, this: Round) -> None:
        """Begin, unless the last time is still under way. Raises what that has ended with."""
        self._beside.begin(self.keep)

    async def keep(self) -> None:
        """Once."""
        seen = [_seen(engine) for engine in self._engines if _is_there(engine)]
        at_ms, samples = now_ms(), self._sampling.take()
        try:
            await asyncio.to_thread(self._registry.engine_weights.sample, samples, at_ms)
        except Exception:
            self._sampling.give_back(samples)
            raise
        loads = self._sampling.take_loads()
        try:
            await asyncio.to_thread(self._registry.engine_loads.add, loads)
        except Exception:
            self._sampling.add_loads(loads)
            raise
        await asyncio.to_thread(self._registry.engine_spans.see, seen, at_ms)
        if time.monotonic() - self._closed_s >= CLOSE_EVERY_S:
            await asyncio.to_thread(self._registry.engine_busy.close, at_ms)
            await asyncio.to_thread(fit_what_is_due, self._registry, at_ms)
            self._closed_s = time.monotonic()


def fit_what_is_due(registry: Registry, at_ms: int) -> None:
    """Fit the weights of each base and kind of engine of which the newest fit is a day old."""
    newest = {(one.base_digest, one.kind): one.made_at_ms for one in registry.engine_weights.all()}
    for base_digest, kind in registry.engine_weights.sampled():
        if at_ms - newest.get((base_digest, kind), 0) >= FIT_EVERY_MS:
            found = fit(registry.engine_weights.samples(base_digest, kind), at_ms)
            if not isinstance(found, NoFit):
                registry.engine_weights.put(found)


def _is_there(engine: ManagedEngine) -> bool:
    return engine.health.look is not None and engine.health.state in ANSWERING


def _seen(engine: ManagedEngine) -> SeenEngine:
    look = engine.health.look
    assert look is not None
    return SeenEngine(
        engine_id_of(engine),
        engine.url,
        EngineAddress.parse(engine.url).host,
        engine.declared.pool,
        engine.declared.base_digest,
        kind_name(engine),
        int(look.boot * 1_000),
    )
