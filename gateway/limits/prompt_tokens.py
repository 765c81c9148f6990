"""Counts of prompts by an engine that is going to serve them, for requests that the bytes of their body would refuse
near a budget's end.

A request that is refused after all has cost an engine the reading of its prompt, for nothing. So a tenant's requests
take turns, with a rest after each; of long ones, and where the engine does not answer in time, bytes count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Protocol

from gateway.engines.connection import EngineUnreachable
from gateway.engines.kinds import kind_of
from gateway.fleet.view import EngineView, FleetView, InFlight
from gateway.handoffs import Arm, EngineBroke, InferenceRequest
from gateway.turns import Turns

MOST_BYTES = 131_072
"""Of a body that is counted; of longer ones bytes count."""
WAIT_S = 3.0
"""Longest wait of a request, for its turn and for its count."""
ANSWER_S = 2.0
"""Longest wait for an engine, which is asked nothing more of this tenant for `SILENT_S` then."""
SILENT_S = 5.0
TENANTS_REST, ENGINES_REST = 4, 1
"""So many times as long as a count took, its tenant's next one waits, and its engine's: of an engine's time, one
tenant's counts fill a fifth, and all of a worker's a half.
"""


class Fleet(Protocol):
    """What is asked of the fleet."""

    in_flight: InFlight

    def view(self) -> FleetView:
        """Engines that may take traffic now."""


class PromptTokens:
    """Asks engines how long prompts are."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._tenants, self._urls = _RestingTurns(TENANTS_REST), _RestingTurns(ENGINES_REST)
        self._silent_until_s: dict[tuple[str, str], float] = {}

    async def count(self, tenant: str, arm: Arm, request: InferenceRequest) -> int | None:
        """Tokens of all prompts of a request, as every engine will count them that can get it; `None`: nobody can tell
        in time.
        """
        kinds = {kind_of(engine.declared) for engine in self._engines(arm, request)}
        if request.body_bytes > MOST_BYTES or len(kinds) != 1:
            return None
        asked = kinds.pop().questions(request.body, request.dialect.engine_fields)
        if asked is None or not asked.bodies:
            return asked and asked.known
        try:
            async with asyncio.timeout(WAIT_S), self._tenants.of(tenant) as mine:
                engine = self._engine(tenant, arm, request)
                if engine is None:
                    return None
                async with self._urls.of(engine.url) as its:
                    with mine, its:
                        counts = await self._ask(tenant, engine, asked.bodies)
        except TimeoutError:
            return None
        return None if counts is None else asked.known + counts

    def most(self, arm: Arm, request: InferenceRequest) -> int | None:
        """The most tokens that engines take of its prompts: longer ones are cut, if it says so, or refused at no cost.
        `None`: any number.
        """
        most = request.body.get("truncate_prompt_tokens") or 0
        if most < 1:
            lengths = [engine.status.max_model_len for engine in self._engines(arm, request)]
            most = 0 if None in lengths else max((length or 0 for length in lengths), default=0)
        return most * (request.choices // (request.body.get("n") or 1)) or None

    def _engines(self, arm: Arm, request: InferenceRequest) -> list[EngineView]:
        """All that may get the request."""
        asks = request.dialect.asks
        return [one for one in self._fleet.view().able(arm) if asks not in one.status.missing]

    def _engine(self, tenant: str, arm: Arm, request: InferenceRequest) -> EngineView | None:
        """The least loaded engine whose count holds on all that may get the request."""
        engines = self._engines(arm, request)
        wanted = {"itself", "its base"} if len(engines) == 1 else {"its base"}
        if any(engine.status.counts not in wanted for engine in engines):
            return None
        now_s, loads = time.monotonic(), self._fleet.in_flight.by_engine
        able = [engine for engine in engines if self._silent_until_s.get((tenant, engine.url), 0.0) <= now_s]
        return min(able, key=lambda engine: loads.get(engine.url, 0), default=None)

    async def _ask(self, tenant: str, engine: EngineView, bodies: list[bytes]) -> int | None:
        total = 0
        try:
            async with asyncio.timeout(ANSWER_S):
                for body in bodies:
                    count = await kind_of(engine.declared).count(engine.client, body, ANSWER_S)
                    if count is None:
                        return None
                    total += count
        except (TimeoutError, EngineUnreachable, EngineBroke):
            now_s = time.monotonic()
            self._silent_until_s = {key: until_s for key, until_s in self._silent_until_s.items() if until_s > now_s}
            self._silent_until_s[tenant, engine.url] = now_s + SILENT_S
            return None
        return total


class _RestingTurns:
    """One at a time of each name, with a rest of `rest` times what was timed of it."""

    def __init__(self, rest: float) -> None:
        self._rest = rest
        self._turns = Turns()

    @asynccontextmanager
    async def of(self, name: str) -> AsyncIterator[_Timed]:
        """A turn of that name."""
        give_back = await self._turns.take(name)
        timed = _Timed()
        try:
            yield timed
        finally:
            asyncio.get_running_loop().call_later(self._rest * timed.took_s, give_back)


class _Timed:
    """A context that knows how long it took: a turn's work, without its wait for another turn."""

    took_s = 0.0

    def __enter__(self) -> None:
        self._began_s = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.took_s = time.monotonic() - self._began_s
