"""Parts of the fleet without a gateway around them: a controller, its hub, and workers that a test plays itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.engines.declared import EngineDeclaration
from gateway.engines.managed import ManagedEngine
from gateway.engines.residency import Finder
from gateway.fleet.controller import Controller, ControllerSettings
from gateway.fleet.hub import Hub
from gateway.fleet.wire import Address, FromController, FromWorker, Hello, Published, encode, read_from_controller
from tests.support.stack import House

NOBODY = Finder(lambda _folder: (), ())
"""Recognises no adapter."""


class FirstTerm:
    """A term that does not end."""

    token = 1
    over = False


def controller_of(house: House, *urls: str, **settings: Any) -> Controller:
    """A controller of engines at these URLs, which nobody has checked yet; no worker is expected."""
    base = house.registry.bases.get("tiny")
    engines = [ManagedEngine(EngineDeclaration(url, base.digest, "cpu", 16), 1) for url in urls]
    hub = Hub(1, "")
    hub.expected = frozenset()
    return Controller(
        engines,
        house.registry,
        house.registry.catalog,
        {base.digest: house.folder},
        ControllerSettings(**settings),
        hub,
        FirstTerm(),
    )


class PlayedWorker:
    """A worker's end of a link, spoken by the test."""

    def __init__(self, name: str, reader: Any, writer: Any) -> None:
        self.name = name
        self.heard: list[FromController] = []
        self._reader = reader
        self._writer = writer

    def say(self, message: FromWorker) -> None:
        self._writer.write(encode(message))

    async def hear_until_published(self) -> int:
        """Read one whole set of changes; its revision."""
        while True:
            message = await read_from_controller(self._reader)
            self.heard.append(message)
            if isinstance(message, Published):
                return message.revision

    def hang_up(self) -> None:
        self._writer.close()


@asynccontextmanager
async def hub_of(controller: Controller, folder: Path) -> AsyncIterator[Address]:
    """The controller's hub, listening inside the block."""
    address = Address("unix", str(folder / "c.sock"), 0)
    urls = [engine.url for engine in controller.engines]
    async with controller.hub.serve(address, urls, controller.snapshot, controller.requests.on_message):
        yield address


async def played_worker(address: Address, name: str, secret: str = "", trusted: tuple[str, ...] = ()) -> PlayedWorker:
    """A worker that has said hello."""
    worker = PlayedWorker(name, *await address.connect())
    worker.say(Hello(name, 1, secret, trusted, {}))
    return worker
