"""What workers know of the engines, and the smallest set of messages that brings them up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.engines.managed import ManagedEngine
from gateway.fleet.wire import Copies, EngineChanged, EngineState, FromController
from gateway.handoffs import Ability, Counts


@dataclass(slots=True)
class _Told:
    base_name: str | None
    state: EngineState
    fault: str | None
    resident: dict[int, str]
    lacks: frozenset[Ability]
    max_model_len: int | None
    counts: Counts


class Publication:
    """Engines of which nothing is known yet are left out: workers keep what an earlier controller said of them."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}
        self._copies: Mapping[int, int] = {}

    def changes(self, engines: Sequence[ManagedEngine], copies: Mapping[int, int]) -> list[FromController]:
        """What is new since the last call; empty when nothing is."""
        found: list[FromController] = []
        for engine in engines:
            if engine.health.state == "new":
                continue
            told = self._told.get(engine.url)
            now = _Told(
                engine.residency.base_name,
                engine.health.state,
                engine.health.fault,
                engine.residency.routes(),
                engine.profile.lacks,
                engine.profile.max_model_len,
                engine.profile.counts,
            )
            if now != told:
                found.append(_message(engine, now, told.resident if told else {}))
                self._told[engine.url] = now
        if copies != self._copies:
            self._copies = dict(copies)
            found.append(Copies(self._copies))
        return found

    def snapshot(self, engines: Sequence[ManagedEngine]) -> list[FromController]:
        """All that was published, for a worker that is new."""
        told = [(engine, self._told[engine.url]) for engine in engines if engine.url in self._told]
        return [*(_message(engine, known, {}) for engine, known in told), Copies(dict(self._copies))]


def _message(engine: ManagedEngine, now: _Told, before: Mapping[int, str]) -> EngineChanged:
    return EngineChanged(
        engine.url,
        engine.declared.base_digest,
        now.base_name,
        engine.declared.max_cpu_loras,
        now.state,
        now.fault,
        added=tuple((version, name) for version, name in now.resident.items() if before.get(version) != name),
        removed=tuple(version for version in before if version not in now.resident),
        lacks=tuple(sorted(now.lacks)),
        max_model_len=now.max_model_len,
        counts=now.counts,
    )
