"""Make the arm resident on the attempt's engine, wait for its slot, and keep both until the last byte."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from types import TracebackType
from typing import Protocol

from gateway.breaches import Breach
from gateway.engines.connection import CannotLoad, EngineUnreachable
from gateway.errors import Overloaded, RateLimited
from gateway.fleet.adapter_slots import AdapterSlots, Running, running_as
from gateway.fleet.breaker import Breaker
from gateway.fleet.line import Lines, Seat
from gateway.fleet.second_asks import SecondAsks
from gateway.fleet.slots import NOBODY
from gateway.fleet.view import ColdAdapterFailed, CopyPin, FleetView, InFlight, Pin
from gateway.fleet.wishes import OnEngine
from gateway.handoffs import Arm, Endpoint
from registry.catalog.snapshot import VersionEntry
from telemetry.spans import Span, part_of

RETRY_AFTER_S = 2


class Fleet(Protocol):
    """The seam to the fleet's one writer: what a worker may ask of it."""

    in_flight: InFlight
    slots: AdapterSlots
    breaker: Breaker
    second_asks: SecondAsks
    lines: Lines

    def view(self) -> FleetView:
        """Engines that may take traffic now."""

    async def comes_back(self, base_digest: str, timeout_s: float) -> Set[str]:
        """Wait for the first of the engines of a base that have started and are being met; URLs of those that take
        traffic now.
        """

    async def ensure(self, engine_url: str, version: VersionEntry, *, proven: bool) -> None:
        """Make a cold adapter resident, or have it on the engine at all if it need not be `proven`. Raises
        `ColdAdapterFailed`.
        """

    def lost(self, engine_url: str, name: str) -> None:
        """The engine does not know this name any more."""

    def disputed(self, engine_url: str, endpoint: Endpoint, tenant: str, *, served_elsewhere: bool) -> None:
        """The engine refused or failed a request, and we do not know why; another served it, or none did yet."""

    def lied(self, engine_url: str, breach: Breach, tenant: str) -> None:
        """The engine has answered as none does."""

    def wake(self) -> None:
        """Something is wrong with an engine; look now."""


class Load:
    """Async context; its value is the name under which the engine knows the arm.

    Raises `EngineUnreachable` when another engine may do better, `Overloaded` or `RateLimited` when the client should
    come back later. For a copy of a request nothing is loaded, and nothing is waited for.
    """

    __slots__ = ("_arm", "_engine_url", "_fleet", "_is_copy", "_pin", "_running", "_seat", "_span", "_wait_s")

    def __init__(
        self,
        fleet: Fleet,
        engine_url: str,
        arm: Arm,
        *,
        wait_s: float,
        is_copy: bool = False,
        span: Span | None = None,
        seat: Seat | None = None,
    ) -> None:
        """`span` is the attempt's, if its trace is told. `seat` is the request's, which others have while it waits."""
        self._fleet = fleet
        self._engine_url = engine_url
        self._arm = arm
        self._wait_s = wait_s
        self._is_copy = is_copy
        self._span = span
        self._seat = seat
        self._running: Running | None = None
        """The adapter among those that run on the engine, once it is."""
        self._pin: Pin | None = None

    async def __aenter__(self) -> str:
        name = self._resident_name()
        if name is None or not self._joins(name):
            if self._is_copy:
                raise EngineUnreachable(f"{self._arm.public_name} has no place on the engine that a copy may take")
            if self._seat is not None:
                self._seat.let_go()
            name = await self._waited_for()
        # No await since the look-up: a name that is pinned was in the view that our next report will confirm.
        version, in_flight = self._arm.version, self._fleet.in_flight
        if self._is_copy:
            self._pin = CopyPin(in_flight, self._engine_url, name)
        else:
            self._pin = Pin(in_flight, self._engine_url, name, version.id if version else None)
        if self._seat is not None and not self._seat.held:
            await self._have_seat_again(self._seat)
        return name

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pin is not None:
            self._pin.release()
        self._leave()

    async def _have_seat_again(self, seat: Seat) -> None:
        """Pinned meanwhile: what was loaded for it stays until it has had its turn."""
        fleet, has = self._fleet, False
        try:
            has = await seat.take_again(OnEngine(fleet.view, seat.may_be_on, self._engine_url))
        finally:
            if not has and self._pin is not None:
                self._pin.release()
                self._leave()
        if not has:
            raise EngineUnreachable("the engine left while a request waited for its turn there")

    def _resident_name(self) -> str | None:
        engine = self._fleet.view().engine(self._engine_url)
        if engine is None:
            return None
        return engine.status.base_name if self._arm.version is None else engine.resident.get(self._arm.version.id)

    def _joins(self, name: str | None) -> bool:
        """Whether it may run now under this name; a base of its own takes no slot."""
        adapter = running_as(self._arm, name)
        if adapter is None:
            return True
        slots = self._fleet.slots
        join = slots.join_as_guest if self._is_copy else slots.join
        if not join(self._engine_url, adapter.number, adapter.tenant):
            return False
        self._running = adapter
        return True

    def _leave(self) -> None:
        if self._running is not None:
            self._fleet.slots.leave(self._engine_url, self._running.number)
            self._running = None

    async def _waited_for(self) -> str:
        """The name once it is resident and has a slot. It is loaded, has a slot, and is proven then: a proof is a
        request too, and without a slot it would wait in the engine, and others behind it. A slot is waited for without
        a hold on the adapter, which may make room for others meanwhile; then it is loaded once more.
        """
        waits_for_slot = False
        try:
            async with asyncio.timeout(self._wait_s):
                name = self._resident_name()
                if name is None:
                    await self._loaded(proven=False)
                if self._running is None and not self._joins(name):
                    waits_for_slot = True
                    await self._slot(name)
                    waits_for_slot = False
                return self._resident_name() or await self._proven()
        except TimeoutError:
            self._leave()
            raise self._no_slot() if waits_for_slot else self._loading() from None
        except BaseException:
            self._leave()
            raise

    async def _slot(self, name: str | None) -> None:
        """Wait for it; who waits for one has an adapter that takes one."""
        adapter = running_as(self._arm, name)
        assert adapter is not None
        with part_of(self._span, f"wait for slot {self._arm.public_name}"):
            await self._fleet.slots.wait(self._engine_url, adapter.number, adapter.tenant)
        self._running = adapter

    async def _loaded(self, *, proven: bool) -> None:
        """Return once the controller has loaded it."""
        if self._arm.version is None:
            raise EngineUnreachable("the engine cannot serve its base model yet")
        try:
            with part_of(self._span, f"wait for {'proof' if proven else 'load'} {self._arm.public_name}"):
                await self._fleet.ensure(self._engine_url, self._arm.version, proven=proven)
        except ColdAdapterFailed as error:
            if error.permanent:
                raise Overloaded(error.reason, param="model", code="model_quarantined") from error
            if error.tenants_own:
                raise RateLimited(
                    f"{self._arm.public_name} is not loaded: {error.reason}.",
                    code="adapter_loads",
                    retry_after_s=RETRY_AFTER_S,
                ) from error
            raise CannotLoad(error.reason) from error

    async def _proven(self) -> str:
        """Its name, once the controller has proven it. What had to make room meanwhile is loaded once more."""
        await self._loaded(proven=True)
        while (name := self._resident_name()) is None:
            if self._fleet.view().engine(self._engine_url) is None:
                raise EngineUnreachable(f"the engine left while {self._arm.public_name} was being loaded")
            await self._loaded(proven=True)
        return name

    def _loading(self) -> Overloaded:
        return Overloaded(
            f"{self._arm.public_name} is being loaded.", code="adapter_loading", retry_after_s=RETRY_AFTER_S
        )

    def _no_slot(self) -> RateLimited | Overloaded:
        """Which of the two says whose the slots are."""
        tenant = self._arm.version.tenant if self._arm.version is not None else NOBODY
        most, own = self._fleet.slots.standing(self._engine_url, tenant)
        waited = f"{self._arm.public_name} waited {self._wait_s:g} s for its turn: its engine runs {most:g} adapters at"
        if own:
            return RateLimited(
                f"{waited} a time, and {own} of them are this tenant's. Use fewer adapters at once, or ask again.",
                code="adapter_slots",
                retry_after_s=RETRY_AFTER_S,
            )
        return Overloaded(
            f"{waited} a time, and others have all of them. Ask again later.",
            code="adapter_slots",
            retry_after_s=RETRY_AFTER_S,
        )
