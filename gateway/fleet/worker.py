"""A worker's end of the fleet: a mirror of what the controller publishes, and the few things it may ask for.

The link may break at any time: the mirror stays as it was, so what is resident is served on, and what is asked for is
asked again of the next controller. Requests bound their own waiting.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Set
from contextlib import suppress
from typing import Any

from gateway.breaches import Breach
from gateway.engines.engine import Engine, EngineState
from gateway.fleet.adapter_slots import AdapterSlots
from gateway.fleet.awaited_loads import AwaitedLoads
from gateway.fleet.breaker import Breaker
from gateway.fleet.channel import LinkBroken
from gateway.fleet.demand import RecentUses
from gateway.fleet.line import Lines
from gateway.fleet.link import ControllerLink
from gateway.fleet.mirror import Mirror
from gateway.fleet.proof_slots import HeldForProofs
from gateway.fleet.room import UNKNOWN
from gateway.fleet.second_asks import SecondAsks
from gateway.fleet.slot_messages import ProofSlotLeft, ProofSlotWanted, Sharing, SlotClosing, SlotGiven
from gateway.fleet.view import FleetView, InFlight
from gateway.fleet.wire import (
    Borrow,
    CatalogMoved,
    Copies,
    Disputed,
    EngineChanged,
    Engines,
    Ensured,
    FromController,
    Hello,
    Inspect,
    Inspected,
    Lent,
    Lied,
    Lost,
    Published,
    Report,
    Shares,
    Wake,
    Welcome,
)
from gateway.handoffs import Endpoint
from gateway.limits.lending import CapWish, Grants, LenderLost, RateWish
from registry.catalog.snapshot import VersionEntry
from registry.fleet.leadership import Leadership

INSPECT_TIMEOUT_S = 5.0
LEND_TIMEOUT_S = 1.0
DISPUTE_EVERY_S = 1.0
"""What an engine refuses on one endpoint and nobody contradicts is told of so often: all may be one tenant's fault."""


class FleetWorker:
    """The `Fleet` of the request path. `on_catalog_moved` is called when the controller knows of a newer catalog.

    `engine_key` gives an engine's key: this process's own settings know it, so no link carries keys.
    """

    def __init__(
        self,
        worker_id: str,
        leadership: Leadership,
        secret: str,
        *,
        engine_key: Callable[[Engine], str | None],
        on_catalog_moved: Callable[[int], None],
        slots: AdapterSlots | None = None,
        lines: Lines | None = None,
    ) -> None:
        self.in_flight = InFlight(on_released=self._report)
        self.slots = slots or AdapterSlots()
        self.on_waited: Callable[[str, float], None] = lambda _cause, _seconds: None
        """Told what a request has waited for, `engine`, `load` or `turn`, and how long."""
        self.breaker = Breaker()
        self.second_asks = SecondAsks()
        self.lines = lines or Lines()
        self.lines.room.on_waited = lambda seconds: self.on_waited("turn", seconds)
        self.informed = asyncio.Event()
        """Set once a controller has told us of its engines."""

        def unlinked() -> None:
            self.slots.be_alone()
            self._proofs.end()

        self.link = ControllerLink(leadership, secret, self._greet, self._report_again, self._take, unlinked)
        self._proofs = HeldForProofs(self.slots, self.link.send)
        self.loads = AwaitedLoads(self.link)
        self._mirror = Mirror(engine_key, self.breaker)
        self._worker_id = worker_id
        self._on_catalog_moved = on_catalog_moved
        self._changes: list[FromController] = []
        self._seen = 0
        self._shares: dict[str, int] = {}
        """Engine URL → seats that this worker may use there, as it was told last."""
        self._recent = RecentUses()
        self._disputed_s: dict[tuple[str, Endpoint], float] = {}
        """(engine URL, endpoint) → when a refusal that nobody contradicts was told of last."""

    # What the request path uses

    def view(self) -> FleetView:
        """Engines that may take traffic now."""
        return self._mirror.view

    async def comes_back(self, base_digest: str, timeout_s: float) -> Set[str]:
        """Wait for the first of the engines of a base that have started and are being met; URLs of those that take
        traffic now, none when it is too late or all of them turn out not to serve.
        """
        if not self._mirror.being_met(base_digest):
            return frozenset()
        began_s = time.monotonic()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while met := self._mirror.being_met(base_digest):
                        await self._mirror.shown.wait()
                        if back := met.intersection(engine.url for engine in self.view().engines):
                            return back
            return frozenset()
        finally:
            self.on_waited("engine", time.monotonic() - began_s)

    async def ensure(self, engine_url: str, version: VersionEntry, *, proven: bool = True) -> None:
        """Make a version resident on an engine, or have it there at all if it need not be `proven`; callers who ask at
        once share one load. Raises `ColdAdapterFailed`.
        """
        began_s = time.monotonic()
        try:
            await self.loads.wait(engine_url, version, proven=proven)
        finally:
            self.on_waited("proof" if proven else "load", time.monotonic() - began_s)

    def lost(self, engine_url: str, name: str) -> None:
        """An engine said that it does not know an adapter that we thought resident."""
        self._mirror.lost(engine_url, name)
        self.link.send(Lost(engine_url, name))

    def disputed(self, engine_url: str, endpoint: Endpoint, tenant: str, *, served_elsewhere: bool) -> None:
        """An engine refused or failed a request, and we do not know why: the controller should find out."""
        now = time.monotonic()
        if not served_elsewhere:
            if now - self._disputed_s.get((engine_url, endpoint), -DISPUTE_EVERY_S) < DISPUTE_EVERY_S:
                return
            self._disputed_s[engine_url, endpoint] = now
        self.link.send(Disputed(engine_url, endpoint, tenant, served_elsewhere))

    def lied(self, engine_url: str, breach: Breach, tenant: str) -> None:
        """An engine has answered as none does: the controller counts how often."""
        self.link.send(Lied(engine_url, breach, tenant))

    def wake(self) -> None:
        """A request could not reach an engine: the controller should look now."""
        self.link.send(Wake())

    # What people and limits ask

    def engines(self) -> tuple[Engine, ...]:
        """Every engine of the fleet as it was published last, also those that take no traffic."""
        return tuple(self._mirror.declared.values())

    def states(self) -> dict[str, tuple[EngineState, str | None, int]]:
        """Engine URL → its state, what is wrong with it, and how many adapters it holds; for probes and metrics."""
        return self._mirror.states()

    async def inspect(self) -> dict[str, Any] | None:
        """The controller's whole knowledge, for the admin API; `None` when there is no controller."""
        try:
            inspected: Inspected = await self.link.ask(lambda number: Inspect(number), INSPECT_TIMEOUT_S)
        except LinkBroken:
            return None
        return inspected.document

    async def exchange(self, writer: str, caps: tuple[CapWish, ...], rates: tuple[RateWish, ...]) -> Grants:
        """As `Lender` says: the controller lends. Raises `LenderLost`."""
        try:
            lent: Lent = await self.link.ask(lambda number: Borrow(number, writer, caps, rates), LEND_TIMEOUT_S)
        except LinkBroken as error:
            raise LenderLost(str(error)) from error
        return lent.grants

    # The link

    async def run(self) -> None:
        """Stay linked to whoever leads; forever."""
        await self.link.run()

    def _greet(self) -> None:
        self._seen = -1  # revisions are counted by each controller anew
        trusted = tuple(name for _, name in self._mirror.names())
        self.link.send(Hello(self._worker_id, os.getpid(), trusted, self._recent.rates(time.monotonic())))
        self._changes.clear()

    def _take(self, message: FromController) -> None:
        match message:
            case Ensured():
                self.loads.end(message)
            case Sharing() if message.shared:
                self.slots.share(frozenset(message.scarce), self.link.send)
            case Sharing():
                self.slots.be_alone()
            case SlotGiven() | SlotClosing():
                self.slots.take(message)
            case ProofSlotWanted() | ProofSlotLeft():
                self._proofs.take(message)
            case CatalogMoved():
                self._on_catalog_moved(message.revision)
            case Shares():
                self._shares = message.most
                self.lines.hear(message.lately)
                self._allow()
            case Published():
                self._apply(self._changes)
                self._changes = []
                self._seen = message.revision
                self.informed.set()
                self._report()
            case Welcome():
                self._changes = [message]
                self.loads.ask_again(older_than_s=0.0)  # what was asked of a controller that is gone, or of nobody
            case Engines() | EngineChanged() | Copies():
                self._changes.append(message)

    def _apply(self, changes: list[FromController]) -> None:
        self._mirror.apply(changes)
        self._allow()
        self.slots.fit({engine.url: engine.runs for engine in self._mirror.view.engines})
        routed = set(self._mirror.names())
        self.in_flight.awaited = {key for key in self.in_flight.counts if key not in routed}

    def _allow(self) -> None:
        """Of engines of which no controller has told a share, all is ours: it does so with the next report."""
        self.lines.allow(
            {
                engine.url: self._shares.get(engine.url, engine.declared.max_num_seqs or UNKNOWN)
                for engine in self.view().engines
            }
        )

    def _report_again(self) -> None:
        self._report()
        self.loads.ask_again()

    def _report(self) -> None:
        now = time.monotonic()
        counts = tuple((url, name, number) for (url, name), number in self.in_flight.counts.items())
        uses = tuple(
            (url, version, use.requests, now - use.newest_s) for (url, version), use in self.in_flight.uses.items()
        )
        self.in_flight.uses.clear()
        for _, version, number, _ in uses:
            self._recent.note(version, number, now)
        copies = tuple((url, name, number) for (url, name), number in self.in_flight.copies.items())
        self.link.send(
            Report(
                self._seen, counts, uses, self._mirror.silences(), self.in_flight.by_version, copies, *self.lines.told()
            )
        )

    def close(self) -> None:
        """Close every engine connection."""
        self._mirror.close()
