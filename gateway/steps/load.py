"""Make the arm resident on the attempt's engine and keep it there until the last byte."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from types import TracebackType
from typing import Protocol

from gateway.engines.connection import CannotLoad, EngineUnreachable
from gateway.errors import Overloaded
from gateway.fleet.breaker import Breaker
from gateway.fleet.line import Lines, OnEngine, Slot
from gateway.fleet.second_asks import SecondAsks
from gateway.fleet.view import ColdAdapterFailed, FleetView, InFlight, Pin
from gateway.handoffs import Arm, Endpoint
from registry.catalog.snapshot import VersionEntry
from telemetry.spans import Span, part_of


class Fleet(Protocol):
    """The seam to the fleet's one writer: what a worker may ask of it."""

    in_flight: InFlight
    breaker: Breaker
    second_asks: SecondAsks
    lines: Lines

    def view(self) -> FleetView:
        """Engines that may take traffic now."""

    async def comes_back(self, base_digest: str, timeout_s: float) -> Set[str]:
        """Wait for the first of the engines of a base that have started and are being met; URLs of those that take
        traffic now.
        """

    async def ensure(self, engine_url: str, version: VersionEntry) -> None:
        """Make a cold adapter resident. Raises `ColdAdapterFailed`."""

    def lost(self, engine_url: str, name: str) -> None:
        """The engine does not know this name any more."""

    def disputed(self, engine_url: str, endpoint: Endpoint, tenant: str, *, served_elsewhere: bool) -> None:
        """The engine refused or failed a request, and we do not know why; another served it, or none did yet."""

    def wake(self) -> None:
        """Something is wrong with an engine; look now."""


class Load:
    """Async context; its value is the name under which the engine knows the arm.

    Raises `EngineUnreachable` when another engine may do better, `Overloaded` when the client should come back later.
    For a copy of a request nothing is loaded.
    """

    __slots__ = ("_arm", "_engine_url", "_fleet", "_is_copy", "_pin", "_slot", "_span", "_wait_s")

    def __init__(
        self,
        fleet: Fleet,
        engine_url: str,
        arm: Arm,
        *,
        wait_s: float,
        is_copy: bool = False,
        span: Span | None = None,
        slot: Slot | None = None,
    ) -> None:
        """`span` is the attempt's, if its trace is told. `slot` is the request's, which others have while it waits."""
        self._fleet = fleet
        self._engine_url = engine_url
        self._arm = arm
        self._wait_s = wait_s
        self._is_copy = is_copy
        self._span = span
        self._slot = slot
        self._pin: Pin | None = None

    async def __aenter__(self) -> str:
        name = self._resident_name()
        if name is None and not self._is_copy:
            if self._slot is not None:
                self._slot.let_go()
            with part_of(self._span, f"wait for load {self._arm.public_name}"):
                await self._warm_up()
            name = self._resident_name()
        if name is None:
            raise EngineUnreachable(f"{self._arm.public_name} left the engine while it was being loaded")
        # No await since the look-up: a name that is pinned was in the view that our next report will confirm.
        version, in_flight = self._arm.version, self._fleet.in_flight
        if self._is_copy:
            self._pin = in_flight.pin_for_copy(self._engine_url, name)
        else:
            self._pin = in_flight.pin(self._engine_url, name, version.id if version else None)
        if self._slot is not None:
            await self._have_slot_again(self._slot)
        return name

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pin is not None:
            self._pin.release()

    async def _have_slot_again(self, slot: Slot) -> None:
        """Pinned meanwhile: what was loaded for it stays until it has had its turn."""
        fleet, has = self._fleet, False
        try:
            has = await slot.take_again(OnEngine(fleet.view, fleet.lines.room, self._engine_url))
        finally:
            if not has and self._pin is not None:
                self._pin.release()
        if not has:
            raise EngineUnreachable("the engine left while a request waited for its turn there")

    def _resident_name(self) -> str | None:
        engine = self._fleet.view().engine(self._engine_url)
        if engine is None:
            return None
        return engine.status.base_name if self._arm.version is None else engine.resident.get(self._arm.version.id)

    async def _warm_up(self) -> None:
        if self._arm.version is None:
            raise EngineUnreachable("the engine cannot serve its base model yet")
        try:
            async with asyncio.timeout(self._wait_s):
                await self._fleet.ensure(self._engine_url, self._arm.version)
        except TimeoutError:
            raise Overloaded(
                f"{self._arm.public_name} is being loaded.", code="adapter_loading", retry_after_s=2
            ) from None
        except ColdAdapterFailed as error:
            if error.permanent:
                raise Overloaded(error.reason, param="model", code="model_quarantined") from error
            raise CannotLoad(error.reason) from error
