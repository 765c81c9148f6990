"""The fleet's engines during one term: a set that changes as their sources do, while it serves."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import overload

from gateway.engines.declared import Declared
from gateway.engines.managed import ManagedEngine
from gateway.fleet.sources import EngineSource

log = logging.getLogger("switchyard.fleet")


class EngineSet(Sequence[ManagedEngine]):
    """What iterates over it sees the set of that moment, whatever changes meanwhile.

    An engine that no source declares any more, or that one declares to be leaving or otherwise than it did, takes no
    new requests and stays until `remove`; the one that is declared in its place is met after that.
    """

    def __init__(self, sources: Sequence[EngineSource], term: int) -> None:
        self._sources = sources
        self._term = term
        self._engines: tuple[ManagedEngine, ...] = ()

    @overload
    def __getitem__(self, index: int) -> ManagedEngine: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[ManagedEngine]: ...

    def __getitem__(self, index: int | slice) -> ManagedEngine | Sequence[ManagedEngine]:
        return self._engines[index]

    def __len__(self) -> int:
        return len(self._engines)

    def __iter__(self) -> Iterator[ManagedEngine]:
        return iter(self._engines)

    def at(self, url: str) -> ManagedEngine | None:
        """The engine at a URL."""
        return next((engine for engine in self._engines if engine.url == url), None)

    def leaving(self) -> list[ManagedEngine]:
        """Those that are to be let go."""
        return [engine for engine in self._engines if engine.leaving]

    def read(self) -> list[Declared]:
        """What all sources declare; of two with one URL the first. Blocks, and raises as `EngineSource.read` does."""
        found: dict[str, Declared] = {}
        for source in self._sources:
            for one in source.read():
                found.setdefault(one.engine.url, one)
        return list(found.values())

    def adopt(self, declared: Sequence[Declared]) -> None:
        """Take engines in that are new, and mark those that are to leave."""
        wanted = {one.engine.url: one for one in declared}
        for engine in self._engines:
            one = wanted.pop(engine.url, None)
            engine.leaving = one is None or one.leaving or one.engine != engine.declared
        for one in wanted.values():  # one that is leaving too: an earlier controller did not live to let it go
            engine = ManagedEngine(one.engine, one.handling, self._term)
            engine.leaving = one.leaving
            self._engines = (*self._engines, engine)
            log.info("engine %s is in the fleet (%s)", engine.url, engine.declared.source)

    def let_go(self, engine: ManagedEngine) -> None:
        """Tell the sources that it is empty. Blocks, and raises as `EngineSource.read` does."""
        for source in self._sources:
            source.let_go(engine.url)

    def remove(self, engine: ManagedEngine) -> None:
        """It is in the fleet no more."""
        self._engines = tuple(one for one in self._engines if one is not engine)
        log.info("engine %s has left the fleet", engine.url)
