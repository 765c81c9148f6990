"""Both ends of the fleet's links, played: a controller that really leads, workers that follow as they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from gateway.fleet.channel import Channel, LinkBroken, link_key, of_controller
from gateway.fleet.controller import Controller
from gateway.fleet.wire import SILENCE_S, EngineChanged, FromController, Published, Report, encode
from gateway.fleet.worker import FleetWorker
from loadtest.folders import write_adapter
from registry.catalog.snapshot import VersionEntry
from tests.support.adapter_folders import TinyBase
from tests.support.fleet_parts import PlayedWorker, controller_of, hub_of, played_worker
from tests.support.stack import House
from tests.support.waiting import DEADLINE_S


def entry_of(house: House, version_id: int) -> VersionEntry:
    """A version as the catalog has it."""
    return house.registry.catalog().versions_by_id[version_id]


@asynccontextmanager
async def office(
    house: House, *urls: str, looks: bool = True, **settings: Any
) -> AsyncIterator[tuple[Controller, Any]]:
    """A controller with the lease of the registry; its value is also where workers reach it. `looks`: its loop runs."""
    zero = house.settings.adapter_cache_dir / "zero"  # beside the adapters, as in a gateway
    if not zero.exists():
        write_adapter(zero, TinyBase().config, scale=0)
    controller = controller_of(house, *urls, zero_adapter=zero, **{"check_interval_s": 0.05, **settings})
    folder = house.folder / f"office-{len(list(house.folder.glob('office-*')))}"
    folder.mkdir()
    async with hub_of(controller, folder) as address:
        lease = house.registry.leadership.acquire(folder.name, str(address))
        assert lease is not None, "the controller before is still in office"
        controller.hub.key = link_key("", lease.key)
        running = asyncio.create_task(controller.run()) if looks else None
        try:
            yield controller, address
        finally:
            if running is not None:
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running
            await controller.close()
            house.registry.leadership.release(folder.name)


@asynccontextmanager
async def real_worker(house: House, name: str = "w", secret: str = "") -> AsyncIterator[FleetWorker]:
    """A gateway's end, with no gateway around it."""
    worker = FleetWorker(
        name, house.registry.leadership, secret, engine_key=lambda _: None, on_catalog_moved=lambda _: None
    )
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        worker.close()


def resident(worker: FleetWorker, version_id: int) -> str | None:
    """The name by which a worker would route a version, on whatever engine."""
    names = (engine.resident.get(version_id) for engine in worker.view().engines)
    return next((name for name in names if name), None)


class Follower:
    """A played worker that reads all it is told, and confirms it while `confirms`."""

    def __init__(self, played: PlayedWorker) -> None:
        self.played = played
        self.confirms = True
        self.paused = False
        self.seen = -1
        self.routes: dict[int, str] = {}
        self.in_flight: tuple[tuple[str, str, int], ...] = ()
        self.by_version: dict[int, int] = {}

    def report(self) -> None:
        self.played.say(Report(self.seen, self.in_flight, (), {}, self.by_version))

    def pause(self) -> None:
        """As SIGSTOP does: the socket stays open, and nothing comes any more."""
        self.confirms, self.paused = False, True

    async def follow(self) -> None:
        with suppress(LinkBroken):
            while True:
                revision = await self.played.hear_until_published()
                for message in self.played.heard:
                    if isinstance(message, EngineChanged):
                        self.routes = {key: name for key, name in self.routes.items() if key not in message.removed}
                        self.routes.update(message.added)
                self.played.heard.clear()
                if self.confirms:
                    self.seen = revision
                    self.report()

    async def keep_reporting(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            if not self.paused:
                self.report()


@asynccontextmanager
async def follower(address: Any, name: str, trusted: tuple[str, ...] = ()) -> AsyncIterator[Follower]:
    """A worker that follows inside the block, and hangs up at its end."""
    one = Follower(await played_worker(address, name, trusted=trusted))
    tasks = [asyncio.create_task(one.follow()), asyncio.create_task(one.keep_reporting())]
    try:
        yield one
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        one.played.hang_up()


class PlayedController:
    """A controller's end of one link: what it heard, and what it says."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = orjson.loads(await self._channel.read(SILENCE_S))
        return message

    async def hear_of(self, key: str, value: object) -> dict[str, Any]:
        """The next message that has this value."""
        async with asyncio.timeout(DEADLINE_S):
            while (message := await self.hear()).get(key) != value:
                pass
        return message

    def say(self, *messages: FromController, revision: int | None = None) -> None:
        ends = () if revision is None else (Published(revision),)
        for message in (*messages, *ends):
            self._channel.write(encode(message))

    def hang_up(self) -> None:
        self._channel.close()


@asynccontextmanager
async def played_office(house: House, name: str) -> AsyncIterator[asyncio.Queue[PlayedController]]:
    """The lease, and a socket whose links a test answers itself, as they come."""
    links: asyncio.Queue[PlayedController] = asyncio.Queue()
    opened: list[PlayedController] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert lease is not None
        opened.append(PlayedController(await of_controller(reader, writer, link_key("", lease.key))))
        links.put_nowait(opened[-1])

    path = Path(house.folder) / f"{name}.sock"
    server = await asyncio.start_unix_server(accept, path)
    lease = house.registry.leadership.acquire(name, f"unix:{path}")
    assert lease is not None
    try:
        yield links
    finally:
        house.registry.leadership.release(name)
        server.close()
        for link in opened:
            link.hang_up()
