"""Which requests are copied, and the copies that run. A copy has a task and a place of its own, and is the first to go.

Every request that was to be copied is counted once: as a pair, or with the cause for which a side is missing.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from gateway.engines.connection import AdapterMissing, EngineUnreachable
from gateway.errors import ApiError
from gateway.experiments.shadow.answers import CopySink, Kept, Watched
from gateway.experiments.shadow.books import Finished, ShadowBooks
from gateway.experiments.shadow.crowding import Crowding, FleetCounts, choose, crowding_of, why_stop
from gateway.experiments.shadow.texts import READABLE
from gateway.fleet.view import EngineView, FleetView
from gateway.handoffs import CLIENT_GONE, Admitted, Arm, EngineBroke, InferenceRequest, Sink, Usage
from registry.catalog.snapshot import Catalog, ShadowEntry
from registry.db import now_ms
from registry.splits.ranges import FULL_WEIGHT

log = logging.getLogger("switchyard.shadow")
MOST_REQUEST_BYTES = 1 << 20
"""Of a body that is copied."""
MOST_WATCHED = 32
"""Requests of one worker whose answers are kept at a time to be compared."""
LOOK_S = 0.05
"""How often it is looked whether a copy must end."""
OWN_PLACES, TOO_LARGE, ENDED, STOPPED = "own_places", "too_large", "ended", "gateway_stopped"
CLIENT_LEFT, CONTROL_FAILED = "client_left", "control_failed"
REJECTED, ENGINE_FAILED, TIMED_OUT, GATEWAY_FAILED = "rejected", "engine_failed", "timed_out", "gateway_failed"
Send = Callable[[Admitted, EngineView, Sink], Awaitable[Usage]]
"""Makes one attempt on an engine. Raises what an attempt raises."""


class FleetSeen(FleetCounts, Protocol):
    """What copies know of the fleet."""

    def view(self) -> FleetView:
        """Engines that take traffic now."""

    def lost(self, engine_url: str, name: str) -> None:
        """The engine does not know this name any more."""


@dataclass(slots=True, eq=False)
class _Copied:
    """One request that is to be copied."""

    shadow: ShadowEntry
    asked: Admitted
    send: Send
    at_ms: int
    sink: CopySink
    task: asyncio.Task[None] | None = None
    engine_url: str = ""
    engine_name: str = ""
    """What the engine calls the candidate."""
    control: Kept | None = None
    """Known when the tenant's own request has ended."""
    cause: str | None = None
    """Why there is no whole answer of the candidate."""
    ends_for: str | None = None
    """Why its task was cancelled."""
    has_ended: bool = field(default=False)


class Copies:
    """Of one process. Not for threads."""

    def __init__(
        self,
        fleet: FleetSeen,
        catalog: Callable[[], Catalog],
        books: ShadowBooks,
        *,
        most_running: int,
        most_on_engine: int,
        timeout_s: float,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`most_running`: copies at a time, 0 for none; an engine with `most_on_engine` requests of this worker gets
        none; `draw` gives numbers from 0 to 1.
        """
        self.books = books
        self._fleet = fleet
        self._catalog = catalog
        self._most_running = most_running
        self._most_on_engine = most_on_engine
        self._timeout_s = timeout_s
        self._draw = draw
        self._watched = 0
        self._running: dict[_Copied, None] = {}
        """In the order in which they began."""
        self._begun = asyncio.Event()
        fleet.lines.room.make_way = self.make_room

    # Beside a request

    def watch(self, shadow: ShadowEntry, asked: Admitted, client: Sink, send: Send) -> Watched | None:
        """The sink for a request that is to be copied, around its client's; `None`: it is not."""
        if self._draw() * FULL_WEIGHT >= shadow.share or not self._may_copy(shadow, asked):
            return None
        if asked.request.body_bytes > MOST_REQUEST_BYTES:
            self.books.count(shadow.id, TOO_LARGE)
            return None
        if self._watched >= MOST_WATCHED:
            self.books.count(shadow.id, OWN_PLACES)
            return None
        self._watched += 1
        loads = self._fleet.in_flight.by_engine
        copied = _Copied(shadow, asked, send, now_ms(), CopySink(loads))
        return Watched(client, loads, lambda watched: self._begin(copied, watched), lambda it: self._ended(copied, it))

    def _may_copy(self, shadow: ShadowEntry, asked: Admitted) -> bool:
        keeping, arm = asked.request.keeping, asked.arm
        answers_itself = arm.assignment is not None and arm.version is not None and arm.version.id == shadow.version.id
        return (
            asked.principal.shadow_consent
            and not answers_itself
            and self._most_running > 0
            and shadow.version.quarantined is None
            and now_ms() < shadow.until_ms
            and asked.call.dialect.name in READABLE
            and not (keeping is not None and keeping.background)
        )

    def _begin(self, copied: _Copied, watched: Watched) -> None:
        """The client has its first byte."""
        if copied.task is not None or copied.cause is not None:
            return
        attempt = watched.kept.attempt
        assert attempt is not None
        found = choose(copied.shadow.version.id, attempt.engine_url, self._fleet.view(), self._crowding)
        if len(self._running) >= self._most_running:
            copied.cause = OWN_PLACES
        elif isinstance(found, str):
            copied.cause = found
        else:
            copied.engine_url, copied.engine_name = found.url, found.resident[copied.shadow.version.id]
            self._running[copied] = None
            self._fleet.lines.room.has_guests = True
            copied.task = asyncio.create_task(self._run(copied, found), name=f"copy of {copied.asked.call.request_id}")
            self._begun.set()

    def _ended(self, copied: _Copied, watched: Watched) -> None:
        """The tenant's own request has ended, well or not."""
        self._watched -= 1
        copied.control = watched.kept
        self._join(copied)

    # The copy

    async def _run(self, copied: _Copied, engine: EngineView) -> None:
        try:
            copied.cause = await self.books.permitted(copied.shadow.id) or None
            if copied.cause is None:
                async with asyncio.timeout(self._timeout_s):
                    await copied.send(_copy_of(copied.asked, copied.shadow), engine, copied.sink)
        except asyncio.CancelledError:
            copied.cause = copied.ends_for or STOPPED
        except TimeoutError:
            copied.cause = TIMED_OUT
        except ApiError as error:
            copied.cause = REJECTED if error.status < 500 else ENGINE_FAILED
        except AdapterMissing as error:
            self._fleet.lost(copied.engine_url, error.engine_name)
            copied.cause = ENGINE_FAILED
        except (EngineUnreachable, EngineBroke):
            copied.cause = ENGINE_FAILED
        except Exception:
            log.exception("a copy of request %s failed in the gateway", copied.asked.call.request_id)
            copied.cause = GATEWAY_FAILED
        finally:
            del self._running[copied]
            self._fleet.lines.room.has_guests = bool(self._running)
            copied.has_ended = True
            self._join(copied)

    def _join(self, copied: _Copied) -> None:
        """When both have ended, tell what came of it."""
        control = copied.control
        if control is None or (copied.task is not None and not copied.has_ended):
            return
        shadow_id, sent = copied.shadow.id, copied.sink.kept.attempt is not None
        cause = _cause_of_control(control) or copied.cause
        if not sent:
            self.books.count(shadow_id, cause or CONTROL_FAILED)
            return
        self.books.add(
            Finished(
                shadow_id,
                copied.asked,
                copied.shadow.version.name,
                copied.at_ms,
                cause,
                control,
                copied.sink.kept,
                _keeps_texts(copied.asked.request),
            )
        )

    # Making room

    async def run(self) -> None:
        """End copies that are in the way of something, until cancelled."""
        while True:
            await self._begun.wait()
            self._begun.clear()
            while self._running:
                await asyncio.sleep(LOOK_S)
                self.make_room()

    def make_room(self) -> None:
        """End the copies that a tenant's request, an unload or the end of their shadow waits for, youngest first."""
        view, catalog = self._fleet.view(), self._catalog()
        for copied in reversed(list(self._running)):
            if (task := copied.task) is None or copied.ends_for is not None:
                continue
            why = why_stop(copied.shadow.version.id, copied.engine_url, copied.engine_name, view, self._crowding)
            if not _goes_on(copied.shadow, copied.asked, catalog):
                why = ENDED
            if why is not None:
                copied.ends_for = why
                task.cancel(CLIENT_GONE)  # nobody wants it any more, and what was made of it is booked

    @property
    def _crowding(self) -> Crowding:
        copies = Counter(one.engine_url for one in self._running if one.ends_for is None)
        return crowding_of(self._fleet, self._most_on_engine, copies)

    async def close(self) -> None:
        """End all of them, and write down what came of everything."""
        tasks = [copied.task for copied in self._running if copied.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.books.write(closing=True)


def _copy_of(asked: Admitted, shadow: ShadowEntry) -> Admitted:
    """The same request to the candidate: another arm, a name of its own at the engine, and nothing that is kept."""
    call, request, version = asked.call, asked.request, shadow.version
    if (keeping := request.keeping) is not None:
        request = request._replace(keeping=keeping._replace(store=False))
    return asked._replace(
        call=call._replace(engine_request_id=f"{call.request_id}-s", trace=b""),
        request=request,
        arm=Arm(version.name, version.base_digest, version),
        unit=None,
        unit_hash=None,
        tap=None,
        shadow=True,
    )


def _goes_on(shadow: ShadowEntry, asked: Admitted, catalog: Catalog) -> bool:
    """Whether the shadow still runs, and its candidate may be served."""
    target = asked.target.version
    if target is None or asked.target.alias is None:
        return False
    adapter = catalog.adapters.get((target.tenant, target.adapter))
    running = None if adapter is None else adapter.shadows.get(asked.target.alias)
    return running is not None and running.id == shadow.id and running.version.quarantined is None


def _cause_of_control(control: Kept) -> str | None:
    """Why the tenant's own answer is not whole."""
    if control.outcome == "ok":
        return None
    return CLIENT_LEFT if control.outcome == "client_aborted" else CONTROL_FAILED


def _keeps_texts(request: InferenceRequest) -> bool:
    """What a client has asked not to be stored is not, not even as a copy."""
    return request.keeping is None or request.keeping.store
