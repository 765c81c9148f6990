"""A worker's end of the fleet: a mirror of what the controller publishes, and the few things it may ask for.

The link may break at any time: the mirror stays as it was, so what is resident is served on, and what is asked for is
asked again of the next controller. Requests bound their own waiting.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from gateway.engines.connection import EngineClient
from gateway.fleet.breaker import Breaker
from gateway.fleet.homes import Homes
from gateway.fleet.second_asks import SecondAsks
from gateway.fleet.view import ColdAdapterFailed, EngineView, FleetView, InFlight
from gateway.fleet.wire import (
    HOLDS,
    SILENCE_S,
    TAKES_TRAFFIC,
    Address,
    Alive,
    Borrow,
    CatalogMoved,
    Copies,
    Disputed,
    EngineChanged,
    EngineState,
    Ensure,
    Ensured,
    FromController,
    FromWorker,
    Hello,
    Inspect,
    Inspected,
    Lent,
    LinkBroken,
    Lost,
    Published,
    Report,
    Wake,
    Welcome,
    encode,
    read_from_controller,
)
from gateway.handoffs import Ability, Counts, Endpoint
from gateway.limits.lending import CapWish, Grants, LenderLost, RateWish
from registry.catalog.snapshot import VersionEntry
from registry.fleet.leadership import Leadership, Lease

log = logging.getLogger("switchyard.worker")
REPORT_INTERVAL_S = 0.25
RECONNECT_S = 0.1
LEND_TIMEOUT_S = 1.0
ASK_AGAIN_S = 5.0
"""A load that is waited for is asked for again so often: an answer that gets lost must not be waited for."""
DISPUTE_EVERY_S = 1.0
"""What an engine refuses on one endpoint and nobody contradicts is told of so often: all may be one tenant's fault."""
ABORTING: tuple[EngineState, ...] = ("hung", "down")
"""States in which running requests are given up: nothing will come of them."""


@dataclass(slots=True)
class _Mirror:
    """One engine as it was published last."""

    client: EngineClient
    base_digest: str
    base_name: str | None
    places: int
    state: EngineState
    fault: str | None
    resident: dict[int, str]
    lacks: frozenset[Ability]
    max_model_len: int | None
    counts: Counts


@dataclass(slots=True)
class _Waiting:
    """A load that was asked for, and the requests that wait for it. It ends with an answer or with its last request."""

    question: Ensure
    ended: asyncio.Future[None]
    asked_s: float
    requests: int = 0


class FleetWorker:
    """The `Fleet` of the request path. `on_catalog_moved` is called when the controller knows of a newer catalog.

    `engine_key` gives the key of the engine at a URL: this process's own settings know it, so no link carries keys.
    """

    def __init__(
        self,
        worker_id: str,
        leadership: Leadership,
        secret: str,
        *,
        engine_key: Callable[[str], str | None],
        on_catalog_moved: Callable[[int], None],
    ) -> None:
        self.in_flight = InFlight(on_released=self._report)
        self.breaker = Breaker()
        self.second_asks = SecondAsks()
        self._shown = asyncio.Event()
        """Set when the view changes, and replaced by another one."""
        self.informed = asyncio.Event()
        """Set once a controller has told us of its engines."""
        self._worker_id = worker_id
        self._leadership = leadership
        self._secret = secret
        self._engine_key = engine_key
        self._on_catalog_moved = on_catalog_moved
        self._view = FleetView.empty()
        self._engines: dict[str, _Mirror] = {}
        self._clients: dict[str, EngineClient] = {}
        self._stale: set[str] = set()
        """Engines of which the present controller has not spoken yet."""
        self._copies: Mapping[int, int] = {}
        self._changes: list[FromController] = []
        self._seen = 0
        self._uses: dict[int, int] = {}
        """Requests by version id since this worker began."""
        self._writer: asyncio.StreamWriter | None = None
        self._address: str | None = None
        """Of the controller that was known last."""
        self._look_up: asyncio.Task[Lease | None] | None = None
        self._disputed_s: dict[tuple[str, Endpoint], float] = {}
        """(engine URL, endpoint) → when a refusal that nobody contradicts was told of last."""
        self._ids = count(1)
        self._waiting: dict[tuple[str, int], _Waiting] = {}
        self._questions: dict[int, asyncio.Future[Any]] = {}

    @property
    def linked(self) -> bool:
        """Whether a controller is there."""
        return self._writer is not None

    # What the request path uses

    def view(self) -> FleetView:
        """Engines that may take traffic now."""
        return self._view

    async def comes_back(self, base_digest: str, timeout_s: float) -> Set[str]:
        """Wait for the first of the engines of a base that have started and are being met; URLs of those that take
        traffic now, none when it is too late or all of them turn out not to serve.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while met := self._being_met(base_digest):
                    await self._shown.wait()
                    if back := met.intersection(engine.url for engine in self._view.engines):
                        return back
        return frozenset()

    def _being_met(self, base_digest: str) -> set[str]:
        return {
            url
            for url, mirror in self._engines.items()
            if mirror.base_digest == base_digest and mirror.state == "starting"
        }

    async def ensure(self, engine_url: str, version: VersionEntry) -> None:
        """Make a version resident on an engine; callers who ask at once share one load. Raises `ColdAdapterFailed`.

        Without a controller it waits for the next one, for as long as the caller lets it: callers bound their waiting,
        and nothing is left of a question that nobody waits for.
        """
        key = (engine_url, version.id)
        waiting = self._waiting.get(key)
        if waiting is None:
            ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting = _Waiting(Ensure(next(self._ids), engine_url, version.id), ended, time.monotonic())
            self._waiting[key] = waiting
            self._send(waiting.question)
        waiting.requests += 1
        try:
            await asyncio.shield(waiting.ended)  # a client that goes away must not cancel what others wait for
        finally:
            waiting.requests -= 1
            if not waiting.requests and self._waiting.get(key) is waiting:
                del self._waiting[key]

    def lost(self, engine_url: str, name: str) -> None:
        """An engine said that it does not know an adapter that we thought resident."""
        mirror = self._engines.get(engine_url)
        if mirror is not None:
            mirror.resident = {version: known for version, known in mirror.resident.items() if known != name}
            if mirror.base_name == name:
                mirror.base_name = None
            self._show()
        self._send(Lost(engine_url, name))

    def disputed(self, engine_url: str, endpoint: Endpoint, tenant: str, *, served_elsewhere: bool) -> None:
        """An engine refused or failed a request, and we do not know why: the controller should find out."""
        now = time.monotonic()
        if not served_elsewhere:
            if now - self._disputed_s.get((engine_url, endpoint), -DISPUTE_EVERY_S) < DISPUTE_EVERY_S:
                return
            self._disputed_s[engine_url, endpoint] = now
        self._send(Disputed(engine_url, endpoint, tenant, served_elsewhere))

    def wake(self) -> None:
        """A request could not reach an engine: the controller should look now."""
        self._send(Wake())

    def states(self) -> dict[str, tuple[EngineState, str | None, int]]:
        """Engine URL → its state, what is wrong with it, and how many adapters it holds; for probes and metrics."""
        return {
            url: (mirror.state, mirror.fault, len(mirror.resident) if mirror.state in HOLDS else 0)
            for url, mirror in self._engines.items()
        }

    async def inspect(self) -> dict[str, Any] | None:
        """The controller's whole knowledge, for the admin API; `None` when there is no controller."""
        try:
            inspected: Inspected = await self._ask(lambda number: Inspect(number), 5.0)
        except LinkBroken:
            return None
        return inspected.document

    async def exchange(self, writer: str, caps: tuple[CapWish, ...], rates: tuple[RateWish, ...]) -> Grants:
        """As `Lender` says: the controller lends. Raises `LenderLost`."""
        try:
            lent: Lent = await self._ask(lambda number: Borrow(number, writer, caps, rates), LEND_TIMEOUT_S)
        except LinkBroken as error:
            raise LenderLost(str(error)) from error
        return lent.grants

    async def _ask(self, question: Callable[[int], FromWorker], timeout_s: float) -> Any:
        """The controller's answer to a question with that number. Raises `LinkBroken`, also when none comes in time."""
        if self._writer is None:
            raise LinkBroken("there is no controller")
        number = next(self._ids)
        self._questions[number] = asyncio.get_running_loop().create_future()
        self._send(question(number))
        try:
            async with asyncio.timeout(timeout_s):
                return await self._questions[number]
        except TimeoutError:
            raise LinkBroken(f"the controller did not answer within {timeout_s:g} s") from None
        finally:
            del self._questions[number]

    # The link

    async def run(self) -> None:
        """Stay linked to whoever leads; forever."""
        while True:
            await self._look_up_controller()
            if self._address is not None:
                try:
                    await self._stay_linked(Address.parse(self._address))
                except (OSError, LinkBroken) as error:
                    log.debug("no link to a controller at %s: %s", self._address, error)
                except Exception:  # whatever it is, the requests need a link
                    log.exception("the link to the controller at %s broke", self._address)
            await asyncio.sleep(RECONNECT_S)

    async def _look_up_controller(self) -> None:
        """Who leads now. A database that is away or hangs leaves the address as it was, and holds up one thread."""
        if self._look_up is None:
            self._look_up = asyncio.create_task(asyncio.to_thread(self._leadership.current))
        if not (await asyncio.wait((self._look_up,), timeout=SILENCE_S))[0]:
            log.warning("the controller's address stays as it was: the database does not answer")
            return
        look_up, self._look_up = self._look_up, None
        try:
            lease = look_up.result()
            self._address = lease.address if lease else self._address
        except SQLAlchemyError as error:
            log.warning("the controller's address stays as it was: %s", error)

    async def _stay_linked(self, address: Address) -> None:
        reader, writer = await address.connect()
        reporting: asyncio.Task[None] | None = None
        try:
            self._writer = writer
            self._seen = -1  # revisions are counted by each controller anew
            trusted = [name for mirror in self._engines.values() for name in _names(mirror)]
            self._send(Hello(self._worker_id, os.getpid(), self._secret, tuple(trusted), self._uses))
            self._changes.clear()
            reporting = asyncio.create_task(self._keep_reporting())
            while True:
                self._take(await read_from_controller(reader))
        finally:
            self._writer = None
            if reporting is not None:
                reporting.cancel()
            writer.close()
            for question in self._questions.values():
                if not question.done():
                    question.set_exception(LinkBroken("the controller went away"))

    def _take(self, message: FromController) -> None:
        match message:
            case Ensured():
                self._ended(message)
            case Inspected() | Lent():
                if (asked := self._questions.get(message.id)) is not None and not asked.done():
                    asked.set_result(message)
            case CatalogMoved():
                self._on_catalog_moved(message.revision)
            case Published():
                self._apply(self._changes)
                self._changes = []
                self._seen = message.revision
                self.informed.set()
                self._report()
            case Welcome():
                self._changes = [message]
                self._ask_again(older_than_s=0.0)  # what was asked of a controller that is gone, or of nobody
            case EngineChanged() | Copies():
                self._changes.append(message)
            case Alive():
                pass

    def _ended(self, message: Ensured) -> None:
        for key, waiting in list(self._waiting.items()):
            if waiting.question.id != message.id:
                continue
            del self._waiting[key]
            if message.failure:
                waiting.ended.set_exception(ColdAdapterFailed(message.failure, permanent=message.permanent))
                waiting.ended.exception()  # marked as seen: every client that waited may have gone away
            else:
                waiting.ended.set_result(None)

    def _ask_again(self, older_than_s: float) -> None:
        now = time.monotonic()
        for waiting in self._waiting.values():
            if now - waiting.asked_s >= older_than_s:
                waiting.asked_s = now
                self._send(waiting.question)

    def _apply(self, changes: list[FromController]) -> None:
        for change in changes:
            match change:
                case Welcome():  # what the predecessor published holds until the successor has looked for itself
                    self._engines = {url: self._engines[url] for url in change.engines if url in self._engines}
                    self._stale = set(self._engines)
                case EngineChanged():
                    self._change_engine(change)
                case Copies():
                    self._copies = change.copies
        self._show()
        routed = {(url, name) for url, mirror in self._engines.items() for name in _names(mirror)}
        self.in_flight.awaited = {key for key in self.in_flight.counts if key not in routed}

    def _change_engine(self, change: EngineChanged) -> None:
        mirror = self._engines.get(change.url)
        resident = {} if mirror is None or change.url in self._stale else mirror.resident
        self._stale.discard(change.url)
        for version in change.removed:
            resident.pop(version, None)
        resident.update(change.added)
        client = self._clients.get(change.url)
        if client is None:
            client = self._clients[change.url] = EngineClient(change.url, self._engine_key(change.url))
        if mirror is not None and (mirror.base_name, mirror.state) != (change.base_name, change.state):
            self.breaker.forget(change.url)  # it booted, or the controller has looked at it and thinks otherwise now
        if change.state in ABORTING:
            client.abort(f"the engine is {change.state}")
        self._engines[change.url] = _Mirror(
            client,
            change.base_digest,
            change.base_name,
            change.places,
            change.state,
            change.fault,
            resident,
            frozenset(change.lacks),
            change.max_model_len,
            change.counts,
        )

    def _show(self) -> None:
        """Put what is mirrored before the request path, in one assignment."""
        serving = {url: mirror for url, mirror in self._engines.items() if mirror.state in TAKES_TRAFFIC}
        weights = {url: mirror.places for url, mirror in serving.items()}
        homes = self._view.homes if self._view.homes.same_as(weights) else Homes(weights)
        engines = tuple(
            EngineView(
                url,
                mirror.client,
                mirror.base_digest,
                mirror.base_name,
                MappingProxyType(mirror.resident),
                mirror.lacks,
                mirror.max_model_len,
                mirror.counts,
            )
            for url, mirror in serving.items()
        )
        self._view = FleetView(engines, homes, self._copies)
        self._shown.set()
        self._shown = asyncio.Event()

    async def _keep_reporting(self) -> None:
        while True:
            await asyncio.sleep(REPORT_INTERVAL_S)
            self._report()
            self._ask_again(ASK_AGAIN_S)

    def _report(self) -> None:
        now = time.monotonic()
        busy = {url: now - client.heard_at_s for url, client in self._clients.items() if client.active}
        counts = tuple((url, name, number) for (url, name), number in self.in_flight.counts.items())
        uses = tuple(
            (url, version, use.requests, now - use.newest_s) for (url, version), use in self.in_flight.uses.items()
        )
        self.in_flight.uses.clear()
        for _, version, number, _ in uses:
            self._uses[version] = self._uses.get(version, 0) + number
        self._send(Report(self._seen, counts, uses, busy, self.in_flight.by_version))

    def _send(self, message: FromWorker) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(message))

    def close(self) -> None:
        """Close every engine connection."""
        for client in self._clients.values():
            client.close()


def _names(mirror: _Mirror) -> list[str]:
    return [*mirror.resident.values(), *([mirror.base_name] if mirror.base_name else [])]
