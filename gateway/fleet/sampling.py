"""What engines count while they work, a minute at a time, made of the looks that the leader takes at them anyway.

Between two looks an engine was busy if it was at work at both, and for half of the time if at one of them: looks come
whatever an engine does, so over many of them that is its busy time. At work it is when it says so, or when a request of
ours is there: vLLM's gauges are those of its last step, so that a request's first one, which reads the prompt, is not
in them until it is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.engines.look import Look
from gateway.engines.managed import ManagedEngine
from registry.catalog.snapshot import VersionEntry
from registry.db import now_ms
from registry.engine_costs.loads import EngineLoad
from registry.engine_costs.weights import EngineSample

SAMPLE_MS = 60_000
LONGEST_GAP_MS = 10_000
"""Between two looks; after a longer one a sample begins anew, as nobody knows what was in it."""
MOST_WAITING = 10_000
"""Samples, or loads, that wait for the database; beyond that the oldest go."""


@dataclass(slots=True)
class _Running:
    first: Look
    last: Look
    at_work: bool
    """At the last look."""
    busy_ms: float = 0.0


class Sampling:
    """One term's. `note` every look at an engine, `take` now and then."""

    def __init__(self, sample_ms: int = SAMPLE_MS) -> None:
        self._sample_ms = sample_ms
        self._running: dict[str, _Running] = {}
        self._done: list[EngineSample] = []
        self._loads: list[EngineLoad] = []

    def note(self, engine: ManagedEngine, in_flight: int) -> None:
        """The engine was looked at, while so many requests of ours were there."""
        look = engine.health.look
        if look is not None:
            self.note_look(engine_id_of(engine), engine.declared.base_digest, kind_name(engine), look, in_flight)

    def note_look(self, engine_id: str, base_digest: str, kind: str, look: Look, in_flight: int) -> None:
        """The engine of this id, base and kind has said this."""
        running, at_work = self._running.get(engine_id), bool(look.running or look.waiting or in_flight)
        if running is None or running.last.boot != look.boot or _gap_ms(running.last, look) > LONGEST_GAP_MS:
            self._running[engine_id] = _Running(look, look, at_work)
            return
        if look.answered_ms <= running.last.answered_ms:
            return
        running.busy_ms += _gap_ms(running.last, look) * (running.at_work + at_work) / 2
        running.last, running.at_work = look, at_work
        if _gap_ms(running.first, look) >= self._sample_ms:
            self._running[engine_id] = _Running(look, look, at_work)
            sample = _sample(engine_id, base_digest, kind, running)
            if sample.uncached_tokens + sample.completion_tokens > 0:
                self._done = [*self._done[-MOST_WAITING + 1 :], sample]

    def loaded(self, engine: ManagedEngine, version: VersionEntry, took_s: float) -> None:
        """An adapter was loaded on the engine and proven there, just now."""
        ended_ms, took_ms = now_ms(), max(1, round(took_s * 1000))
        self.add_loads([EngineLoad(engine_id_of(engine), version.tenant, version.name, ended_ms - took_ms, ended_ms)])

    def add_loads(self, loads: Iterable[EngineLoad]) -> None:
        """Keep them for the next `take_loads`, also those that could not be stored."""
        self._loads = [*self._loads, *loads][-MOST_WAITING:]

    def take_loads(self) -> list[EngineLoad]:
        """Those since the last time."""
        loads, self._loads = self._loads, []
        return loads

    def take(self) -> list[EngineSample]:
        """Those that were finished since."""
        done, self._done = self._done, []
        return done

    def give_back(self, samples: list[EngineSample]) -> None:
        """They could not be stored."""
        self._done = [*samples, *self._done][-MOST_WAITING:]

    def forget(self, engine: ManagedEngine) -> None:
        """It has left the fleet."""
        self._running.pop(engine_id_of(engine), None)


def engine_id_of(engine: ManagedEngine) -> str:
    """As usage rows have it."""
    return engine.declared.id or engine.url


def kind_name(engine: ManagedEngine) -> str:
    """Kind and platform: `vllm on gpu`."""
    return f"{engine.declared.kind} on {engine.declared.platform}"


def _gap_ms(one: Look, other: Look) -> int:
    return other.answered_ms - one.answered_ms


def _sample(engine_id: str, base_digest: str, kind: str, running: _Running) -> EngineSample:
    first, last = running.first, running.last
    prompts = last.prompt_tokens - first.prompt_tokens
    return EngineSample(
        engine_id,
        last.answered_ms,
        base_digest,
        kind,
        round(running.busy_ms),
        last.steps - first.steps,
        max(0, prompts - (last.cached_tokens - first.cached_tokens)),
        last.generation_tokens - first.generation_tokens,
    )
