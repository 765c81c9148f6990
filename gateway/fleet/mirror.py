"""A worker's mirror of the engines as the controller published them last, and the view of it for the request path."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from gateway.engines.connection import EngineClient
from gateway.engines.engine import HOLDS, TAKES_TRAFFIC, Engine, EngineState, EngineStatus
from gateway.engines.kinds import KINDS
from gateway.fleet.breaker import Breaker
from gateway.fleet.homes import Homes
from gateway.fleet.view import EngineView, FleetView
from gateway.fleet.wire import Copies, EngineChanged, Engines, FromController, Welcome

ABORTING: tuple[EngineState, ...] = ("hung", "down")
"""States in which running requests are given up: nothing will come of them."""


@dataclass(slots=True)
class _Mirrored:
    """One engine as it was published last."""

    status: EngineStatus
    resident: dict[int, str]

    @property
    def names(self) -> list[str]:
        """What requests on it may name."""
        return [*self.resident.values(), *([self.status.base_name] if self.status.base_name else [])]


class Mirror:
    """Of one worker. `engine_key` gives an engine's key by this process's own settings, so no link carries keys."""

    def __init__(self, engine_key: Callable[[Engine], str | None], breaker: Breaker) -> None:
        self.view = FleetView.empty()
        self.shown = asyncio.Event()
        """Set when the view changes, and replaced by another one."""
        self.declared: Mapping[str, Engine] = {}
        """Every engine of the fleet by its URL, also those of which nothing is known yet."""
        self._engine_key = engine_key
        self._breaker = breaker
        self._engines: dict[str, _Mirrored] = {}
        self._clients: dict[str, EngineClient] = {}
        self._stale: set[str] = set()
        """Engines of which the present controller has not spoken yet."""
        self._copies: Mapping[int, int] = {}

    def apply(self, changes: Sequence[FromController]) -> None:
        """Take one set of changes in, and show it at once."""
        for change in changes:
            match change:
                case Welcome():  # what the predecessor published holds until the successor has looked for itself
                    self._stale = set(self._engines)
                case Engines():
                    self._declare(change.engines)
                case EngineChanged():
                    self._change(change)
                case Copies():
                    self._copies = change.copies
        self._show()

    def lost(self, url: str, name: str) -> None:
        """An engine does not know a name: route nothing to it any more."""
        mirrored = self._engines.get(url)
        if mirrored is None:
            return
        mirrored.resident = {version: known for version, known in mirrored.resident.items() if known != name}
        if mirrored.status.base_name == name:
            mirrored.status = replace(mirrored.status, base_name=None)
        self._show()

    def being_met(self, base_digest: str) -> set[str]:
        """URLs of the engines of a base that have started and are being looked at."""
        return {
            url
            for url, mirrored in self._engines.items()
            if mirrored.status.state == "starting" and self.declared[url].base_digest == base_digest
        }

    def names(self) -> list[tuple[str, str]]:
        """(engine URL, name on it) of everything that requests may be sent to."""
        return [(url, name) for url, mirrored in self._engines.items() for name in mirrored.names]

    def states(self) -> dict[str, tuple[EngineState, str | None, int]]:
        """Engine URL → its state, what is wrong with it, and how many adapters it holds."""
        return {
            url: (one.status.state, one.status.fault, len(one.resident) if one.status.state in HOLDS else 0)
            for url, one in self._engines.items()
        }

    def silences(self) -> dict[str, float]:
        """Engine URL → seconds since it last sent anything, of engines with requests of ours."""
        now = time.monotonic()
        return {url: now - client.heard_at_s for url, client in self._clients.items() if client.active}

    def close(self) -> None:
        """Close every engine connection that idles."""
        for client in self._clients.values():
            client.close()

    def _declare(self, engines: Sequence[Engine]) -> None:
        """These and no others. Answers in progress on an engine that is gone end as they would have."""
        before, self.declared = (
            self.declared,
            MappingProxyType(
                {engine.url: engine for engine in engines if engine.kind in KINDS}  # a newer controller may know more
            ),
        )
        self._engines = {
            url: known
            for url, known in self._engines.items()
            if (engine := self.declared.get(url)) is not None and _same_models(engine, before[url])
        }
        for url in [url for url in self._clients if self.declared.get(url) != before.get(url)]:
            self._clients.pop(url).close()

    def _client(self, engine: Engine) -> EngineClient:
        client = self._clients.get(engine.url)
        if client is None:
            client = self._clients[engine.url] = EngineClient(engine.url, self._engine_key(engine))
        return client

    def _change(self, change: EngineChanged) -> None:
        url, status = change.url, change.status
        if url not in self.declared:
            return
        known = self._engines.get(url)
        resident = {} if known is None or url in self._stale else known.resident
        self._stale.discard(url)
        for version in change.removed:
            resident.pop(version, None)
        resident.update(change.added)
        if known is not None and (known.status.base_name, known.status.state) != (status.base_name, status.state):
            self._breaker.forget(url)  # it booted, or the controller has looked at it and thinks otherwise now
        if status.state in ABORTING and (client := self._clients.get(url)) is not None:
            client.abort(f"the engine is {status.state}")
        self._engines[url] = _Mirrored(status, resident)

    def _show(self) -> None:
        """Put what is mirrored before the request path, in one assignment."""
        serving = {url: known for url, known in self._engines.items() if known.status.state in TAKES_TRAFFIC}
        weights = {url: self.declared[url].places for url in serving}
        homes = self.view.homes if self.view.homes.same_as(weights) else Homes(weights)
        engines = tuple(
            EngineView(
                self.declared[url], known.status, MappingProxyType(known.resident), self._client(self.declared[url])
            )
            for url, known in serving.items()
        )
        self.view = FleetView(engines, homes, self._copies)
        self.shown.set()
        self.shown = asyncio.Event()


def _same_models(engine: Engine, before: Engine) -> bool:
    """Whether what was known of an engine as it was declared before may still be routed to."""
    return (engine.base_digest, engine.kind) == (before.base_digest, before.kind)
