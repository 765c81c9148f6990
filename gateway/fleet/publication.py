"""What workers know of the engines, and the smallest set of messages that brings them up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.engines.engine import Engine, EngineStatus
from gateway.engines.managed import ManagedEngine
from gateway.fleet.wire import Copies, EngineChanged, Engines, FromController


@dataclass(frozen=True, slots=True)
class _Published:
    status: EngineStatus
    resident: dict[int, str]


class Publication:
    """Every engine is declared; of those of which nothing is known yet no more is said: workers keep what an earlier
    controller said of them.
    """

    def __init__(self) -> None:
        self._declared: tuple[Engine, ...] = ()
        self._published: dict[str, _Published] = {}
        self._copies: Mapping[int, int] = {}

    def changes(self, engines: Sequence[ManagedEngine], copies: Mapping[int, int]) -> list[FromController]:
        """What is new since the last call; empty when nothing is."""
        found: list[FromController] = []
        declared = tuple(engine.declared for engine in engines)
        if declared != self._declared:
            self._declare(declared)
            found.append(Engines(declared))
        for engine in engines:
            if engine.health.state == "new":
                continue
            before = self._published.get(engine.url)
            now = _Published(_status_of(engine), engine.residency.routes())
            if now != before:
                found.append(_message(engine.url, now, before.resident if before else {}))
                self._published[engine.url] = now
        if copies != self._copies:
            self._copies = dict(copies)
            found.append(Copies(self._copies))
        return found

    def snapshot(self, engines: Sequence[ManagedEngine]) -> list[FromController]:
        """All that was published, for a worker that is new."""
        declared = Engines(tuple(engine.declared for engine in engines))
        known = [_message(url, published, {}) for url, published in self._published.items()]
        return [declared, *known, Copies(dict(self._copies))]

    def _declare(self, declared: tuple[Engine, ...]) -> None:
        self._declared = declared
        urls = {engine.url for engine in declared}
        self._published = {url: published for url, published in self._published.items() if url in urls}


def _status_of(engine: ManagedEngine) -> EngineStatus:
    return EngineStatus(
        engine.health.state,
        engine.health.fault,
        engine.residency.base_name,
        engine.profile.lacks,
        engine.profile.max_model_len,
        engine.profile.counts,
        engine.profile.missing,
        engine.health.look is not None and engine.health.look.waiting > 0,
        engine.slots,
    )


def _message(url: str, now: _Published, before: Mapping[int, str]) -> EngineChanged:
    return EngineChanged(
        url,
        now.status,
        added=tuple((version, name) for version, name in now.resident.items() if before.get(version) != name),
        removed=tuple(version for version in before if version not in now.resident),
    )
