"""What workers ask of the controller, and its answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError

from gateway.fleet.hub import Hub, WorkerLink
from gateway.fleet.loading import Proof
from gateway.fleet.proof_slots import ProofSlots
from gateway.fleet.shared_slots import SharedSlots
from gateway.fleet.slot_messages import ProofSlot, SlotLeft, SlotsHeld, SlotWanted
from gateway.fleet.view import ColdAdapterFailed
from gateway.fleet.wire import Borrow, Disputed, Ensure, Ensured, FromWorker, Inspect, Inspected, Lent, Lied, Lost, Wake
from gateway.limits.lending import Pool
from gateway.metrics.counts import AskSamples, AskTraffic, Counted
from gateway.metrics.leader import Traffic
from gateway.metrics.series import document_of
from registry.catalog.snapshot import Catalog, VersionEntry
from registry.service import Registry

log = logging.getLogger("switchyard.fleet")
ANSWER_WITHIN_S = 600.0
"""Longer than any load that goes well. Requests give up much sooner; this ends what nobody expected."""


class Errands:
    """Work that is begun and not waited for; it ends with the term at the latest."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def run(self, errand: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Begin it."""
        task = asyncio.create_task(errand)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def tasks(self) -> list[asyncio.Task[None]]:
        """What has not ended yet."""
        return list(self._running)


class RequestContext(Protocol):
    """What answers need of the controller around them."""

    @property
    def hub(self) -> Hub:
        """The links to workers."""

    @property
    def slots(self) -> SharedSlots:
        """What workers share of engines."""

    @property
    def proof_slots(self) -> ProofSlots:
        """What proofs need of them."""

    @property
    def errands(self) -> Errands:
        """Where work is begun that nobody waits for."""

    @property
    def traffic(self) -> Traffic:
        """What workers have counted."""

    async def ensure(self, engine_url: str, version: VersionEntry, *, proof: Proof) -> None:
        """Have a version on an engine, and resident unless its proof comes later. Raises `ColdAdapterFailed`."""

    def lost(self, engine_url: str, name: str) -> None:
        """An engine does not know an adapter that we thought resident."""

    def dispute(self, disputed: Disputed) -> None:
        """An engine refused what another may have served."""

    def lied(self, lied: Lied) -> None:
        """An engine has answered as none does."""

    def wake(self) -> None:
        """Begin the next round now."""

    def document(self) -> dict[str, Any]:
        """Everything that is known, for people."""


class WorkerRequests:
    """Answers the workers of one controller's term."""

    def __init__(
        self, controller: RequestContext, registry: Registry, catalog: Callable[[], Catalog], lender: str
    ) -> None:
        self._controller = controller
        self._registry = registry
        self._catalog = catalog
        self._pool = Pool(lender)
        self._being_answered: set[tuple[str, int]] = set()
        """Worker and question: a worker that hears nothing asks again."""

    def on_message(self, link: WorkerLink, message: FromWorker) -> None:
        """One message of a worker other than its reports."""
        match message:
            case Ensure():
                self._controller.errands.run(self._answer(link, message))
            case Lost():
                self._controller.lost(message.url, message.name)
            case Disputed():
                self._controller.dispute(message)
            case Lied():
                self._controller.lied(message)
            case Wake():
                self._controller.wake()
            case Borrow():
                link.send(Lent(message.id, self._pool.lend(message.writer, message.caps, message.rates)))
            case Counted():
                self._controller.traffic.take(link.worker, message)
            case AskSamples():
                link.send(Inspected(message.id, self._controller.traffic.samples(message.gateway)))
            case AskTraffic():
                self._controller.errands.run(self._tell_of_traffic(link, message))
            case SlotsHeld() | SlotWanted() | SlotLeft():
                self._controller.slots.take(link, message)
            case ProofSlot():
                self._controller.proof_slots.take(message)
            case Inspect():
                self._controller.errands.run(self._describe(link, message.id))

    async def _answer(self, link: WorkerLink, asked: Ensure) -> None:
        """Whatever becomes of the load, the worker hears of it."""
        asking = (link.worker, asked.id)
        if asking in self._being_answered:
            return
        self._being_answered.add(asking)
        try:
            ended = await self._ensured(asked)
        finally:
            self._being_answered.discard(asking)
        answering = self._controller.hub.links.get(link.worker, link)  # it may have linked anew meanwhile
        answering.send(ended)

    async def _ensured(self, asked: Ensure) -> Ensured:
        version = self._catalog().versions_by_id.get(asked.version)
        failure, permanent, tenants_own = "", False, False
        try:
            if version is None:
                version = (await asyncio.to_thread(self._registry.catalog)).versions_by_id[asked.version]
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._controller.ensure(asked.url, version, proof=Proof.AT_ONCE if asked.proven else Proof.LATER)
        except TimeoutError:
            failure = f"version id {asked.version} was not loaded within {ANSWER_WITHIN_S:g} s"
        except ColdAdapterFailed as error:
            failure, permanent, tenants_own = error.reason, error.permanent, error.tenants_own
        except (KeyError, SQLAlchemyError) as error:
            failure = f"version id {asked.version} cannot be looked up: {error!r}"
        except Exception as error:  # the worker must hear something, or nobody asks for this version ever again
            log.exception("loading version id %d on %s failed", asked.version, asked.url)
            failure = f"version id {asked.version} could not be loaded: {error!r}"
        return Ensured(asked.id, failure, permanent, tenants_own)

    async def _describe(self, link: WorkerLink, question: int) -> None:
        link.send(Inspected(question, self._controller.document()))

    async def _tell_of_traffic(self, link: WorkerLink, asked: AskTraffic) -> None:
        """Some milliseconds of arithmetic, which no request waits for."""
        known = self._controller.traffic.known(asked)
        link.send(Inspected(asked.id, await asyncio.to_thread(document_of, asked, known)))
