"""Composition root: the lifespan opens every resource and closes it again; nothing is global."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import Depends, FastAPI
from starlette.routing import BaseRoute

from gateway.admin_key import admin_key
from gateway.api.account import account_router
from gateway.api.addresses import MODEL_NAMED, canonical, form_at, of_deployment
from gateway.api.admin.auth import AdminGate
from gateway.api.asgi import Message, Receive, Send
from gateway.api.body_clock import BodyBounds, BodyClock
from gateway.api.conversations import conversations_router
from gateway.api.cors import TENANT_ROUTES, Cors
from gateway.api.credentials import refuse_two_keys
from gateway.api.description import describe_inference
from gateway.api.dialects import BY_PATH, DIALECTS
from gateway.api.error_handlers import translate_errors
from gateway.api.feedback import feedback_router
from gateway.api.fields.caps import Caps
from gateway.api.files import files_router
from gateway.api.fine_tuning import fine_tuning_routers
from gateway.api.hosts import Hosts
from gateway.api.inference import answer
from gateway.api.keys_at_work import KeysAtWork
from gateway.api.late_routes import LateRoutes
from gateway.api.models import models_router
from gateway.api.no_nul import refuse_nul
from gateway.api.operators import Standing, operators_router
from gateway.api.pings import Pings
from gateway.api.request_ids import RequestIds
from gateway.api.respond import Respond
from gateway.api.responses import responses_router
from gateway.api.uploads import uploads_router
from gateway.api.web_answers import answer_by_web
from gateway.api.webhook_endpoints import webhooks_router
from gateway.background import Background, Run
from gateway.bytes_in_flight import BytesInFlight
from gateway.catalog_watch import CatalogWatch
from gateway.cost.accountant.asking import Accountant
from gateway.desk import Desk
from gateway.door import Door
from gateway.errors import MethodNotAllowed, Overloaded
from gateway.experiments.shadow.opening import copies_of
from gateway.feedback.box import FeedbackBox
from gateway.files.cabinet import Cabinet
from gateway.fleet.adapter_slots import AdapterSlots
from gateway.fleet.leadership import Candidate, candidate_of
from gateway.fleet.line import Lines
from gateway.fleet.worker import FleetWorker
from gateway.house import House
from gateway.identity import Identity, gateway_name
from gateway.journal.journal import Journal
from gateway.journal.shipper import Shipper
from gateway.limits.limits import Limits
from gateway.limits.output_lengths import OutputLengths
from gateway.limits.prompt_tokens import PromptTokens
from gateway.limits.refusal_counts import RefusalCounts
from gateway.limits.refusal_pace import RefusalPace
from gateway.limits.sharing import borrowing, limits_of, warn_of_others
from gateway.limits.warnings import BudgetWarnings
from gateway.metrics.levels import Levels
from gateway.metrics.telling import Telling
from gateway.metrics.worker import Metrics
from gateway.request_log import RequestLog
from gateway.responses.lookups import Lookups
from gateway.responses.opening import archive_of
from gateway.scoring.scorer import Scorer
from gateway.settings import GatewaySettings
from gateway.splits.skews import SkewWatch
from gateway.splits.units import Units
from gateway.steps.admit import Admission
from gateway.steps.resolve import Targets
from gateway.training.workshop import Workshop
from gateway.webhooks.courier import Courier
from gateway.webhooks.sender import Destinations
from registry.ledger.output_lengths import count_lengths
from registry.limits.budget_warnings import BudgetWarningBooks
from registry.service import Registry
from registry.tenant_files.parts import Allowance, Bounds
from telemetry.tracing import Tracing, tracing_of

CHATS = tuple(name for name, dialect in DIALECTS.items() if dialect.asks == "chat")
"""Endpoints whose answers are chats, and become as long as those."""
SERVICE = "switchyard-gateway"
"""What tracing calls these processes."""
FIRST_VIEW_TIMEOUT_S = 3.0
LATE_S = 600.0
"""What has come of a file is removed so long after the last moment at which the rest may come."""
CATCH_UP_S = 5.0
"""Longest time that a start takes to bring to the ledger what dead workers left: budgets are read from it."""


class Gateway:
    """The ASGI application: inference goes straight to the path, everything else to FastAPI.

    With `leads` it also stands for the fleet's controller, in the same process. `token` is the identity's, when the
    parent has chosen one.
    """

    def __init__(self, settings: GatewaySettings, *, leads: bool = True, token: str | None = None) -> None:
        self.settings = settings
        self.identity = Identity.of_this_process(token)
        self.house: House | None = None
        self.worker: FleetWorker | None = None
        self.candidate: Candidate | None = None
        self.leaving = False
        """Set when the process is about to stop: it still serves, and is not ready any more."""
        self._late: LateRoutes | None = None
        self._leads = leads
        self._refusal: str | None = None
        self._cors = Cors(settings.cors_origins)
        self._hosts = Hosts(settings.allowed_hosts, settings.admin_port)
        self.web = FastAPI(
            title="Switchyard",
            lifespan=self._lifespan,
            openapi_url=None,
            redirect_slashes=False,
            dependencies=[Depends(refuse_two_keys), Depends(refuse_nul)],
        )
        translate_errors(self.web)
        describe_inference(self.web)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One connection event."""
        if scope["type"] == "lifespan":
            await self.web(scope, receive, self._in_a_sentence(send))
            return
        ids = RequestIds(scope["headers"])
        if self._hosts.on and (misdirected := self._hosts.refusal(scope)) is not None:
            await Respond(send, form_at(scope["path"]), began_s=0, ids=ids).fail(misdirected)
            return
        dialect = BY_PATH.get(scope["path"])
        if dialect is None:
            if (deployment := of_deployment(scope["path"])) is not None:
                scope = {**scope, "path": deployment[0], MODEL_NAMED: deployment[1]}
            else:
                scope = {**scope, "path": canonical(scope["path"])}
            dialect = BY_PATH.get(scope["path"])
        if self._cors.on and scope["path"].startswith(TENANT_ROUTES):
            if await self._cors.answer_preflight(scope, send):
                return
            send = self._cors.with_headers_for(scope, send)
        if dialect is None:
            if scope["method"] == "HEAD":  # the server sends the head of whatever is answered
                scope["method"] = "GET"
            if self._late is not None:
                await self._late.needed_for(scope["path"])
            await answer_by_web(self.web, scope, receive, send, self.house, ids)
        elif scope["method"] != "POST":
            refusal = MethodNotAllowed(f"{scope['method']} {scope['path']}: it takes POST only.", code="unknown_url")
            refusal.headers = ((b"allow", b"POST"),)
            await Respond(send, dialect, began_s=0, ids=ids).fail(refusal)
        elif self.house is None:
            starting = Overloaded("The gateway is starting.", retry_after_s=1)
            await Respond(send, dialect, began_s=0, ids=ids).fail(starting)
        else:
            await answer(scope, receive, send, dialect, self.house, ids)

    def _in_a_sentence(self, send: Send) -> Send:
        """Where a start fails for a reason that the operator can mend, say it without a traceback."""

        async def say(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed" and self._refusal is not None:
                message["message"] = f"error: {self._refusal}"
            await send(message)

        return say

    @asynccontextmanager
    async def _lifespan(self, web: FastAPI) -> AsyncIterator[None]:
        """Open in the order of need, close in reverse: registry → catalog → journal → fleet → routes."""
        settings, worker_id = self.settings, str(self.identity)
        with Registry.open(settings) as registry:
            await asyncio.to_thread(registry.load)
            url = f"http://{settings.host}:{settings.port}"
            watch = CatalogWatch(registry, worker_id, url, settings.catalog_poll_s)
            journal, shipper = await self._open_journal(registry)
            worker = self.worker = FleetWorker(
                worker_id,
                registry.leadership,
                settings.fleet_secret,
                engine_key=settings.engine_key,
                on_catalog_moved=watch.look_now,
                slots=AdapterSlots(settings.engine_reserved_slots, lambda: len(watch.current.adapters_of)),
                lines=Lines(settings.engine_kept_seat_share),
            )
            limits = limits_of(settings, registry.spending, journal.writer)
            limits.adopt(watch.current)
            await asyncio.to_thread(limits.books.read)
            tracing = tracing_of(settings, SERVICE, worker_id)
            self.candidate = candidate_of(registry, settings, watch, self.identity, tracing) if self._leads else None
            house = self.house = _house(settings, registry, watch, worker, limits, journal, worker_id, tracing)
            background = Background(self._works(house, worker, registry), house.metrics.restarted)
            house.telling.levels.works = background.faults
            worker.on_waited = house.metrics.waited
            worker.slots.on_waited = partial(house.metrics.waited, "slot")
            standing = Standing(background, self._duties, lambda: self.leaving)
            self._late = _mount(web, house, worker, registry, standing)
            shipper.start()
            try:
                async with background:
                    with contextlib.suppress(TimeoutError):  # who connects to a worker that knows no engine gets a 503
                        async with asyncio.timeout(FIRST_VIEW_TIMEOUT_S):
                            await worker.informed.wait()
                    async with borrowing(limits, settings, journal.writer, worker):
                        yield
            finally:
                await house.copies.close()
                await house.refused.flush()
                worker.close()
                house.desk.close()
                house.accountant.close()
                house.scorer.close()
                house.requests.close()
                await house.archive.close()
                house.cabinet.close()
                house.feedback.close()
                house.workshop.samples.close()
                if tracing is not None:
                    await asyncio.to_thread(tracing.close)
                await asyncio.to_thread(shipper.stop)
                journal.close()
                with contextlib.suppress(Exception):
                    registry.workers.leave(worker_id)

    async def _open_journal(self, registry: Registry) -> tuple[Journal, Shipper]:
        """With what dead workers left taken over, and in the ledger as far as there is time. Raises `OSError`."""
        settings, folder = self.settings, self.settings.state_dir / "journal"
        try:
            journal = Journal(folder, str(self.identity), max_unshipped_bytes=settings.journal_max_unshipped_bytes)
            shipper = Shipper(journal, registry.ledger)
            await asyncio.to_thread(shipper.recover)
        except OSError as error:
            self._refusal = (
                f"usage cannot be written down in {folder} ({error.strerror}), and what cannot be metered is not "
                "served; make room there and let this user write, or set SWITCHYARD_STATE_DIR"
            )
            raise
        await asyncio.to_thread(shipper.catch_up, CATCH_UP_S)
        return journal, shipper

    def _duties(self) -> Mapping[str, str | None]:
        controller = self.candidate.controller if self.candidate is not None else None
        return controller.rounds.faults() if controller is not None else {}

    def _works(self, house: House, worker: FleetWorker, registry: Registry) -> dict[str, Run]:
        """What goes on in the background, by the name that metrics and `/readyz` give it."""
        settings, worker_id = self.settings, str(self.identity)
        watch, limits, candidate = house.catalog, house.limits, self.candidate

        def on_catalog() -> None:
            limits.adopt(watch.current)
            if candidate is not None:
                candidate.wake()

        works: dict[str, Run] = {
            "catalog": partial(watch.run, on_catalog),
            "fleet_link": worker.run,
            "pings": house.pings.run,
            "keys_at_work": house.keys_at_work.run,
            "telling": house.telling.run,
            "ledger_reader": limits.books.run,
            "refusal_counts": house.refused.run,
            "other_gateways": partial(warn_of_others, limits, registry.workers.live, worker_id),
            "budget_warnings": BudgetWarnings(
                limits.counters, BudgetWarningBooks(registry.db), tells=settings.budget_webhook_url is not None
            ).run,
            "webhooks": Courier(registry.outbox, Destinations.of(settings), registry.wait_until_served).run,
            "background_responses": house.archive.runs.run,
            "stored_amounts": house.archive.quota.run,
            "scorer": house.scorer.run,
            "shadow_room": house.copies.run,
            "shadow_books": house.copies.books.run,
            "split_skews": SkewWatch(house.units, registry.skews, registry.workers, worker_id).run,
            "output_lengths": partial(house.lengths.seed, partial(count_lengths, registry.db, CHATS)),
        }
        if candidate is not None:
            works["candidate"] = candidate.run
        return works


def _admission(settings: GatewaySettings) -> Admission:
    bytes_ = BytesInFlight(settings.max_bytes_in_flight, settings.max_bytes_in_flight_per_tenant)
    return Admission.of(
        settings.max_unfinished_bodies, settings.max_in_flight, settings.max_in_flight_per_tenant, bytes_
    )


def _house(
    settings: GatewaySettings,
    registry: Registry,
    watch: CatalogWatch,
    worker: FleetWorker,
    limits: Limits,
    journal: Journal,
    worker_id: str,
    tracing: Tracing | None,
) -> House:
    metrics, units, caps, admission = Metrics(), Units(), Caps(), _admission(settings)
    archive = archive_of(settings, registry, worker_id, lambda: admission.requests.taken)
    levels = Levels(
        metrics, watch, journal, units, worker.lines, worker.slots, None if tracing is None else tracing.outbox
    )
    return House(
        settings=settings,
        caps=caps,
        catalog=watch,
        fleet=worker,
        admission=admission,
        desk=Desk(partial(metrics.waited, "desk")),
        accountant=Accountant(registry),
        door=Door(watch, admin_key(settings), settings.invalid_keys_per_minute, settings.trusted_proxies, metrics.add),
        limits=limits,
        lengths=OutputLengths(settings.default_output_tokens),
        prompts=PromptTokens(worker),
        targets=Targets(),
        units=units,
        journal=journal,
        pings=Pings(settings.stream_ping_s),
        keys_at_work=KeysAtWork(lambda: watch.current, ends=settings.end_streams_of_keys),
        body_clock=BodyClock(BodyBounds(caps.max_body_bytes, settings.body_timeout_s, settings.body_min_bytes_per_s)),
        metrics=metrics,
        telling=Telling(gateway_name(settings.port), metrics, levels, worker.link),
        refused=RefusalCounts(metrics, registry.refusals.add),
        pace=RefusalPace(settings.refusals_per_second, metrics.slowed),
        requests=RequestLog(settings.request_log),
        copies=copies_of(settings, registry, worker, lambda: watch.current, metrics.copied),
        archive=archive,
        cabinet=_cabinet(settings, registry),
        workshop=Workshop(
            registry.training,
            archive.lookups,
            registry.webhooks,
            Destinations.of(settings),
            Lookups("samples"),
            settings.max_unfinished_jobs_per_tenant,
            settings.wandb_entity,
            registry.wait_until_served,
        ),
        feedback=FeedbackBox(registry.outcomes, registry.subjects, settings.max_outcomes, Lookups("feedback")),
        scorer=Scorer(registry.outcomes, settings.max_outcomes, metrics.sampled),
        tracing=tracing,
    )


def _cabinet(settings: GatewaySettings, registry: Registry) -> Cabinet:
    allowance = Allowance(settings.max_file_bytes_per_tenant, settings.max_files_per_tenant)
    of_file = Bounds(settings.max_file_bytes, settings.file_timeout_s + LATE_S, allowance)
    return Cabinet(registry.files, Lookups("files"), of_file, settings.max_upload_bytes)


def _mount(web: FastAPI, house: House, worker: FleetWorker, registry: Registry, standing: Standing) -> LateRoutes:
    gate = AdminGate(admin_key(house.settings), house.catalog, house.settings.admin_port)
    routers = (
        models_router(house),
        responses_router(house),
        conversations_router(house),
        files_router(house),
        uploads_router(house),
        feedback_router(house),
        account_router(house, registry),
        *fine_tuning_routers(house),
        webhooks_router(house),
        operators_router(web, house, worker, gate, standing),
    )
    for router in routers:  # `include_router` gives each route what the application asks of all: no NUL characters
        web.include_router(router)

    @web.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """The process runs."""
        return {"status": "ok"}

    def admin_routes() -> Sequence[BaseRoute]:
        from gateway.api.admin.office import Office
        from gateway.api.admin.router import admin_router

        return admin_router(Office(house, worker, registry), gate).routes

    return LateRoutes(web, admin_routes)
