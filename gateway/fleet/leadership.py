"""Wanting to lead the fleet: hold the lease, and be its controller for as long as it is held."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from gateway.background import being_cancelled
from gateway.catalog_watch import CatalogWatch
from gateway.fleet.channel import link_key
from gateway.fleet.controller import Controller, ControllerSettings
from gateway.fleet.engine_set import EngineSet
from gateway.fleet.hub import Hub
from gateway.fleet.load_turns import LoadLimits
from gateway.fleet.sources import AdminSource, EngineSource, FixedSource, declared_fleet
from gateway.fleet.wire import MAX_UNIX_PATH, Address
from gateway.identity import Identity
from gateway.metrics.leader import Naming
from gateway.settings import GatewaySettings
from registry.catalog.snapshot import Catalog
from registry.errors import Conflict, InvalidInput
from registry.fleet.leadership import TTL_MS, Lease
from registry.service import Registry
from telemetry.spans import Begins

log = logging.getLogger("switchyard.fleet")
CANVASS_S = 0.25
RENEW_S = TTL_MS / 1000 / 3


class HeldTerm:
    """A term as its holder may trust it: by our own clock, from before the renewal was sent."""

    def __init__(self, lease: Lease, asked_s: float) -> None:
        self.token = lease.token
        self._until_s = asked_s + TTL_MS / 1000

    @property
    def over(self) -> bool:
        """Whether somebody else may lead by now."""
        return time.monotonic() > self._until_s

    def extend(self, asked_s: float) -> None:
        """The lease was renewed by a request sent at `asked_s`."""
        self._until_s = asked_s + TTL_MS / 1000


class Candidate:
    """Runs a `Controller` here whenever the lease can be had. `controller` is it, during a term."""

    def __init__(
        self,
        registry: Registry,
        catalog: Callable[[], Catalog],
        sources: Sequence[EngineSource],
        settings: ControllerSettings,
        *,
        holder: str,
        address: Address,
        secret: str,
        tracing: Begins | None = None,
    ) -> None:
        self.controller: Controller | None = None
        self._registry = registry
        self._catalog = catalog
        self._sources = sources
        self._settings = settings
        self._holder = holder
        self._address = address
        self._secret = secret
        self._tracing = tracing

    def wake(self) -> None:
        """The catalog changed, or an engine wants to be looked at."""
        if self.controller is not None:
            self.controller.wake()

    async def run(self) -> None:
        """Stand for election, lead, and stand again; until cancelled, which gives the lease back."""
        try:
            while True:
                asked_s = time.monotonic()
                try:
                    lease = await asyncio.to_thread(self._registry.leadership.acquire, self._holder, str(self._address))
                except SQLAlchemyError as error:
                    log.warning("cannot stand for the fleet's controller: %s", error)
                    lease = None
                if lease is not None:
                    try:
                        await self._lead(HeldTerm(lease, asked_s), lease)
                    except Exception:  # whatever it is, the fleet needs somebody to lead
                        if being_cancelled():
                            raise
                        log.exception("term %d broke off", lease.token)
                    await self._resign()
                await asyncio.sleep(CANVASS_S)
        finally:
            await self._resign()

    async def _lead(self, term: HeldTerm, lease: Lease) -> None:
        log.info("controller of the fleet, term %d, at %s", term.token, self._address)
        hub = Hub(term.token, link_key(self._secret, lease.key))
        engines = EngineSet(self._sources, term.token)
        engines.adopt(await asyncio.to_thread(engines.read))
        controller = Controller(engines, self._registry, self._catalog, self._settings, hub, term, self._tracing)
        try:
            async with hub.serve(self._address, controller.snapshot, controller.requests.on_message):
                self.controller = controller
                running = asyncio.create_task(controller.run(), name="controller")
                holding = asyncio.create_task(self._hold(term, lease), name="lease")
                try:
                    done, _ = await asyncio.wait((running, holding), return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        if (error := task.exception()) is not None:
                            log.error("term %d ends: %s", term.token, error, exc_info=error)
                finally:
                    for task in (running, holding):
                        task.cancel()
                    await asyncio.gather(running, holding, return_exceptions=True)
        except OSError as error:
            log.error("cannot listen at %s: %s", self._address, error)
        finally:
            self.controller = None
            await controller.close()

    async def _resign(self) -> None:
        """Let another one lead at once, if it was us who led."""
        with suppress(SQLAlchemyError):
            await asyncio.to_thread(self._registry.leadership.release, self._holder)

    async def _hold(self, term: HeldTerm, lease: Lease) -> None:
        """Renew until somebody else has the lease. A database that is away ends no term: nobody can take over then."""
        while True:
            await asyncio.sleep(RENEW_S)
            asked_s = time.monotonic()
            try:
                await asyncio.to_thread(self._registry.leadership.renew, lease)
                term.extend(asked_s)
            except Conflict as error:
                log.warning("%s", error)
                return
            except SQLAlchemyError as error:
                log.warning("the lease could not be renewed: %s", error)


def candidate_of(
    registry: Registry,
    settings: GatewaySettings,
    watch: CatalogWatch,
    identity: Identity,
    tracing: Begins | None = None,
) -> Candidate:
    """A candidate as the settings want it. Raises `InvalidInput` for what they cannot mean."""
    address = (
        Address.parse(settings.controller_listen) if settings.controller_listen else _own(settings.state_dir, identity)
    )
    if address.family == "tcp" and not settings.fleet_secret:
        raise InvalidInput(
            f"controller_listen is {str(address)!r} and fleet_secret is empty: anybody who reaches that port could "
            "steer the fleet; set SWITCHYARD_FLEET_SECRET to the same value on every host",
            param="fleet_secret",
        )
    return Candidate(
        registry,
        lambda: watch.current,
        (FixedSource(declared_fleet(registry, settings)), AdminSource(registry, settings)),
        ControllerSettings(
            check_interval_s=settings.engine_check_s,
            reconcile_interval_s=5 * settings.engine_check_s,
            retire_after_s=settings.retire_after_s,
            drain_timeout_s=settings.drain_timeout_s,
            requests_per_home=settings.requests_per_home,
            reserved_slots=settings.engine_reserved_slots,
            kept_seat_share=settings.engine_kept_seat_share,
            loads=LoadLimits(settings.engine_queued_loads_per_tenant, settings.engine_load_share),
            response_days=settings.response_days,
            outcome_days=settings.outcome_days,
            pair_days=settings.pair_days,
            tells_operator=settings.budget_webhook_url is not None,
            heads_every_s=settings.audit_heads_every_s,
            naming=Naming(
                frozenset(settings.metrics_tenants),
                settings.metrics_top_tenants,
                frozenset(settings.metrics_adapters),
                settings.metrics_top_adapters,
            ),
        ),
        holder=str(identity),
        address=address,
        secret=settings.fleet_secret,
        tracing=tracing,
    )


def _own(state_dir: Path, identity: Identity) -> Address:
    """A Unix socket for workers on this host; in the state folder, or where temporary files go if that is too deep.

    Its name has the token: containers that share the folder may have equal pids.
    """
    path = state_dir.absolute() / f"controller-{identity.token}.sock"
    if len(str(path)) > MAX_UNIX_PATH:
        path = Path(tempfile.gettempdir()) / f"switchyard-controller-{identity.token}.sock"
    return Address("unix", str(path), 0)
