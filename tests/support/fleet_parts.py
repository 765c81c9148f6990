"""Parts of the fleet without a gateway around them: a controller, its hub, and workers that a test plays itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gateway.engines.connection import EngineClient
from gateway.engines.declared import Declared, Handling
from gateway.engines.engine import Engine, EngineStatus
from gateway.engines.managed import ManagedEngine
from gateway.engines.residency import Finder
from gateway.fleet.channel import Channel, of_worker
from gateway.fleet.controller import Controller, ControllerSettings
from gateway.fleet.engine_set import EngineSet
from gateway.fleet.hub import Hub
from gateway.fleet.slot_messages import ProofSlot, ProofSlotWanted
from gateway.fleet.sources import FixedSource
from gateway.fleet.view import EngineView
from gateway.fleet.wire import (
    Address,
    Engines,
    FromController,
    FromWorker,
    Hello,
    Published,
    encode,
    read_from_controller,
)
from tests.support.stack import House

NOBODY = Finder(lambda _folder: (), ())
"""Recognises no adapter."""


class FirstTerm:
    """A term that does not end."""

    token = 1
    over = False


def managed_engine(
    url: str, *, base_digest: str = "sha256:0", zero_adapter: Path = Path(), places: int = 16
) -> ManagedEngine:
    """An engine as the controller manages it, on a CPU."""
    return ManagedEngine(Engine(url, base_digest, "cpu", places), Handling(zero_adapter), 1)


def engine_view(
    url: str, *, base_digest: str = "sha256:0", resident: Mapping[int, str] | None = None, **status: Any
) -> EngineView:
    """An engine that takes traffic, as requests see it; `status` are fields of its `EngineStatus`."""
    known = EngineStatus(**{"state": "up", "fault": None, "base_name": "base", **status})
    return EngineView(Engine(url, base_digest, "cpu", 16), known, resident or {}, EngineClient(url))


def engines_at(*urls: str) -> Engines:
    """The message that declares engines at these URLs."""
    return Engines(tuple(Engine(url, "sha256:0", "cpu", 16) for url in urls))


def controller_of(house: House, *urls: str, zero_adapter: Path | None = None, **settings: Any) -> Controller:
    """A controller of engines at these URLs, which nobody has checked yet; no worker is expected."""
    base = house.registry.bases.get("tiny")
    zero = zero_adapter or house.folder
    declared = [Declared(Engine(url, base.digest, "cpu", 16), Handling(zero)) for url in urls]
    engines = EngineSet([FixedSource(declared)], 1)
    engines.adopt(declared)
    hub = Hub(1, b"a key of tests")
    hub.expected = frozenset()
    return Controller(
        engines,
        house.registry,
        house.registry.catalog,
        ControllerSettings(**settings),
        hub,
        FirstTerm(),
    )


class PlayedWorker:
    """A worker's end of a link, spoken by the test."""

    def __init__(self, name: str, channel: Channel) -> None:
        self.name = name
        self.heard: list[FromController] = []
        self.channel = channel

    def say(self, message: FromWorker) -> None:
        self.channel.write(encode(message))

    async def hear_until_published(self) -> int:
        """Read one whole set of changes; its revision."""
        while True:
            message = await read_from_controller(self.channel)
            if isinstance(message, ProofSlotWanted):  # nothing runs here, so every slot is free
                self.say(ProofSlot(message.id, had=True))
            self.heard.append(message)
            if isinstance(message, Published):
                return message.revision

    def hang_up(self) -> None:
        self.channel.close()


@dataclass(frozen=True, slots=True)
class Place(Address):
    """Where a hub listens, and which one."""

    hub: Hub = field(compare=False)

    def __str__(self) -> str:
        return f"unix:{self.host}"


@asynccontextmanager
async def hub_of(controller: Controller, folder: Path) -> AsyncIterator[Place]:
    """The controller's hub, listening inside the block."""
    address = Place("unix", str(folder / "c.sock"), 0, controller.hub)
    async with controller.hub.serve(address, controller.snapshot, controller.requests.on_message):
        yield address


async def played_worker(
    address: Place, name: str, trusted: tuple[str, ...] = (), rates: Mapping[int, float] = MappingProxyType({})
) -> PlayedWorker:
    """A worker that has proven itself and said hello."""
    worker = PlayedWorker(name, await of_worker(*await address.connect(), address.hub.key))
    worker.say(Hello(name, 1, trusted, dict(rates)))
    return worker
