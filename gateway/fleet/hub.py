"""The controller's end of the links to its workers: what each was told, what each has in flight."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.fleet.channel import UNPROVEN_BYTES, Channel, LinkBroken, of_controller
from gateway.fleet.wire import (
    SPEAK_EVERY_S,
    Address,
    Alive,
    FromController,
    FromWorker,
    Hello,
    Published,
    Report,
    Welcome,
    encode,
    read_from_worker,
)

log = logging.getLogger("switchyard.fleet")
MAX_UNSENT_BYTES = 1 << 26
"""A worker that has not read so much is cut off; it will link anew and be told everything."""
MOST_STRANGERS = 32
"""Who has linked and proven nothing yet. One more takes the place of the first, who had the longest time for it."""
There = Mapping[str, Callable[[int], bool]]
"""URL of each engine of the fleet → whether a version, by its id, is on it."""


def is_there(there: There, key: tuple[str, int]) -> bool:
    """Whether the engine of that URL is in the fleet, and has the version of that id."""
    url, version = key
    return url in there and there[url](version)


@dataclass(slots=True)
class WorkerLink:
    """One linked worker. Until its first report it may use anything that was ever published."""

    worker: str
    pid: int
    channel: Channel
    linked_s: float
    """`time.monotonic()` of its hello."""
    seen: int = -1
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    """(engine URL, adapter name) → requests in flight, as reported last."""
    copies: dict[tuple[str, str], int] = field(default_factory=dict)
    """Likewise, those that are copies of requests."""
    by_version: dict[int, int] = field(default_factory=dict)
    """Version id → requests that were given it, as reported last."""
    seats: dict[str, int] = field(default_factory=dict)
    """Engine URL → seats that it uses there, as reported last."""
    waiting: dict[str, int] = field(default_factory=dict)
    """Digest of a base → requests that wait for a seat, as reported last."""
    standings: tuple[tuple[str, str, int, int, int], ...] = ()
    """As in its last `Report`."""
    lately: tuple[tuple[str, str, int], ...] = ()
    """Likewise."""

    def send(self, *messages: FromController) -> None:
        """Queue messages; a worker that does not read is cut off."""
        if self.channel.is_closing():
            return
        for message in messages:
            self.channel.write(encode(message))
        if self.channel.unsent_bytes > MAX_UNSENT_BYTES:
            self.channel.abort()


class Hub:
    """Every linked worker of one controller's term.

    Invariant: a name is clear only when every worker that lives – linked, or known to the registry – has confirmed a
    revision of the view without it, and counts no request on it.
    """

    def __init__(self, token: int, key: bytes) -> None:
        """Of the term of this token; `key` is that of its links (`link_key`)."""
        self.key = key
        self.links: dict[str, WorkerLink] = {}
        self.revision = 0
        self.expected: frozenset[str] | None = None
        """Ids of the workers whose lease in the registry has not lapsed; `None` while that is unknown."""
        self.trusted: set[str] = set()
        """Adapter names that workers were routing to when they linked: an earlier controller had proven them."""
        self.last_used_s: dict[tuple[str, int], float] = {}
        """(engine URL, version id) → `time.monotonic()` when its newest request began, or it was loaded."""
        self.heard_s: dict[str, float] = {}
        """Engine URL → `time.monotonic()` when any worker last got a byte from it."""
        self.uses: dict[int, int] = {}
        """Requests by version id since somebody last emptied it."""
        self.rates: dict[int, float] = {}
        """Requests a second by version id of workers that have linked since somebody last emptied it."""
        self.on_links: Callable[[], None] = lambda: None
        """Called when a worker has linked, or gone."""
        self.on_report: Callable[[], None] = lambda: None
        """Called when a worker has reported."""
        self._token = token
        self._strangers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        """By the task that waits for their proof, in the order in which they came."""
        self._waiters: set[asyncio.Future[None]] = set()

    @asynccontextmanager
    async def serve(
        self,
        address: Address,
        snapshot: Callable[[], list[FromController]],
        on_message: Callable[[WorkerLink, FromWorker], None],
    ) -> AsyncIterator[None]:
        """Accept workers inside the block. Raises `OSError` when the address cannot be listened on."""
        tasks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                channel = await self._prove(task, reader, writer)
                await self._serve_link(channel, Welcome(self._token), snapshot, on_message)
            except (LinkBroken, asyncio.CancelledError) as error:
                log.debug("a worker's link ended: %s", error)
            finally:
                tasks.discard(task)
                writer.close()

        server = await _listen(address, accept)
        ours = _inode(address)

        async def stay_reachable() -> None:
            nonlocal server, ours
            while True:
                await asyncio.sleep(SPEAK_EVERY_S)
                if _has_a_socket(address):  # also when it is another's: a successor may listen there by now
                    continue
                try:
                    server.close()
                    server = await _listen(address, accept)
                    ours = _inode(address)
                    log.warning("the socket at %s was gone, so workers could not link; it is there again", address)
                except OSError as error:
                    log.error("workers cannot link: cannot listen at %s again: %s", address, error)

        tasks.add(asyncio.create_task(self._keep_speaking()))
        tasks.add(asyncio.create_task(stay_reachable()))
        try:
            yield
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if _inode(address) == ours:  # else a successor listens there by now
                _remove_socket(address)

    async def _prove(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Channel:
        """Raises `LinkBroken` for a stranger."""
        if len(self._strangers) >= MOST_STRANGERS:
            first = next(iter(self._strangers))
            self._strangers.pop(first).transport.abort()
        self._strangers[task] = writer
        try:
            return await of_controller(reader, writer, self.key)
        finally:
            self._strangers.pop(task, None)

    async def _serve_link(
        self,
        channel: Channel,
        welcome: Welcome,
        snapshot: Callable[[], list[FromController]],
        on_message: Callable[[WorkerLink, FromWorker], None],
    ) -> None:
        hello = await read_from_worker(channel)
        if not isinstance(hello, Hello):
            raise LinkBroken("a worker says hello first")
        link = WorkerLink(hello.worker, hello.pid, channel, time.monotonic())
        self.links[hello.worker] = link
        self.trusted.update(hello.trusted)
        for version, rate in hello.rates.items():
            self.rates[version] = max(self.rates.get(version, 0.0), rate)
        link.send(welcome, *snapshot(), Published(self.revision))
        self.on_links()
        try:
            while True:
                message = await read_from_worker(channel)
                if isinstance(message, Report):
                    self._note(link, message)
                else:
                    on_message(link, message)
        finally:
            if self.links.get(hello.worker) is link:
                del self.links[hello.worker]
                self.on_links()
            self._wake_waiters()

    def publish(self, changes: Sequence[FromController]) -> int:
        """Tell every worker one set of changes; the revision by which it is known."""
        self.revision += 1
        for link in self.links.values():
            link.send(*changes, Published(self.revision))
        return self.revision

    async def _keep_speaking(self) -> None:
        while True:
            await asyncio.sleep(SPEAK_EVERY_S)
            self.broadcast(Alive())

    def broadcast(self, message: FromController) -> None:
        """Tell every worker something that is no part of the view."""
        for link in self.links.values():
            link.send(message)

    def _note(self, link: WorkerLink, report: Report) -> None:
        now = time.monotonic()
        link.seen = report.seen
        link.counts = {(url, name): number for url, name, number in report.in_flight}
        link.copies = {(url, name): number for url, name, number in report.copies}
        link.by_version = report.by_version
        link.seats, link.waiting = report.seats, report.waiting
        link.standings, link.lately = report.standings, report.lately
        for url, version, number, age_s in report.uses:
            self.last_used_s[url, version] = max(self.last_used_s.get((url, version), 0.0), now - age_s)
            self.uses[version] = self.uses.get(version, 0) + number
        for url, age_s in report.last_bytes.items():
            self.heard_s[url] = max(self.heard_s.get(url, 0.0), now - age_s)
        self.on_report()
        self._wake_waiters()

    def keep_what_is(self, there: There) -> None:
        """Forget what workers have told of engines and versions after these had gone."""
        self.heard_s = {url: heard_s for url, heard_s in self.heard_s.items() if url in there}
        self.last_used_s = {key: used_s for key, used_s in self.last_used_s.items() if is_there(there, key)}

    def newcomers(self, younger_than_s: float) -> set[str]:
        """Ids of workers that linked so recently that the registry may not know them yet."""
        oldest = time.monotonic() - younger_than_s
        return {worker for worker, link in self.links.items() if link.linked_s > oldest}

    def count(self, url: str, name: str) -> int:
        """Requests on one adapter of one engine, as reported last."""
        return sum(link.counts.get((url, name), 0) for link in self.links.values())

    def asked(self, url: str, name: str) -> int:
        """The same without copies of requests, which end when something else needs their place."""
        return self.count(url, name) - sum(link.copies.get((url, name), 0) for link in self.links.values())

    def given(self, version: int) -> int:
        """Requests on a version, on whatever engine and under whatever name, as reported last."""
        return sum(link.by_version.get(version, 0) for link in self.links.values())

    def running_on(self, url: str) -> int:
        """Requests on one engine, as reported last."""
        return sum(number for link in self.links.values() for (where, _), number in link.counts.items() if where == url)

    def is_clear(self, url: str, name: str, revision: int) -> bool:
        """Whether nobody uses, or can begin to use, a name that left the view with `revision`."""
        return self.confirmed_by_all(revision) and self.count(url, name) == 0

    def confirmed_by_all(self, revision: int) -> bool:
        """Whether the newest report of every worker that lives was made after it knew of this revision of the view."""
        if self.expected is None or not self.expected <= self.links.keys():
            return False
        return all(link.seen >= revision for link in self.links.values())

    async def everybody_linked(self, timeout_s: float) -> None:
        """Return when every worker that the registry knows has linked, or the time is up."""
        deadline = time.monotonic() + timeout_s
        while not (self.expected or frozenset()) <= self.links.keys() and time.monotonic() < deadline:
            await self.next_report(deadline - time.monotonic())

    async def collect_reports(self, timeout_s: float) -> None:
        """Have every worker report now; return when all have, or the time is up."""
        revision = self.publish(())
        deadline = time.monotonic() + timeout_s
        while any(link.seen < revision for link in self.links.values()) and time.monotonic() < deadline:
            await self.next_report(timeout_s)

    async def next_report(self, timeout_s: float) -> None:
        """Return when a worker has reported, or gone, or the time is up."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await waiter
        finally:
            self._waiters.discard(waiter)

    def _wake_waiters(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


async def _listen(
    address: Address, accept: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> asyncio.Server:
    if address.family == "tcp":
        return await asyncio.start_server(accept, address.host, address.port, limit=UNPROVEN_BYTES)
    _remove_socket(address)  # what a dead process left behind
    server = await asyncio.start_unix_server(accept, address.host, limit=UNPROVEN_BYTES)
    os.chmod(address.host, 0o600)
    return server


def _inode(address: Address) -> int | None:
    try:
        return Path(address.host).stat().st_ino if address.family == "unix" else None
    except FileNotFoundError:
        return None


def _has_a_socket(address: Address) -> bool:
    """Whether a worker that begins now finds something to link to: whoever tidies a folder may have taken it away."""
    return address.family == "tcp" or Path(address.host).is_socket()


def _remove_socket(address: Address) -> None:
    if address.family == "unix":
        Path(address.host).unlink(missing_ok=True)
