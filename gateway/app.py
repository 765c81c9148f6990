"""Composition root: the lifespan opens every resource and closes it again; nothing is global."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gateway.api.inference import PATHS, answer
from gateway.api.models import models_router
from gateway.api.request import Caps
from gateway.api.respond import Receive, Respond, Send
from gateway.catalog_watch import CatalogWatch
from gateway.cost.journal import Journal, Shipper
from gateway.errors import ApiError, MethodNotAllowed, Overloaded
from gateway.fleet.controller import Controller, ControllerSettings
from gateway.fleet.engine import EngineDeclaration, ManagedEngine
from gateway.fleet.lock import only_controller
from gateway.fleet.quirks import write_zero_adapter
from gateway.metrics import Metrics
from gateway.path import House
from gateway.settings import GatewaySettings
from gateway.steps.admit import Admission
from registry.bases import BaseInfo
from registry.errors import InvalidInput
from registry.service import Registry

log = logging.getLogger("switchyard")


class Gateway:
    """The ASGI application: inference goes straight to the path, everything else to FastAPI."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.house: House | None = None
        self.web = FastAPI(title="Switchyard", lifespan=self._lifespan, docs_url="/docs", redoc_url=None)
        _translate_errors(self.web)
        _describe_inference(self.web)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One connection event."""
        endpoint = PATHS.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None:
            await self.web(scope, receive, send)
        elif scope["method"] != "POST":
            await Respond(send, began_s=0).fail(
                MethodNotAllowed(f"{scope['method']} {scope['path']}: it takes POST only.", code="unknown_url")
            )
        elif self.house is None:
            await Respond(send, began_s=0).fail(Overloaded("The gateway is starting.", retry_after_s=1))
        else:
            await answer(scope, receive, send, endpoint, self.house)

    @asynccontextmanager
    async def _lifespan(self, web: FastAPI) -> AsyncIterator[None]:
        """Open in the order of need, close in reverse: registry → catalog → journal → fleet → routes."""
        settings = self.settings
        worker_id = f"{socket.gethostname()}-{os.getpid()}"
        with only_controller(settings.state_dir), Registry.open(settings) as registry:
            watch = CatalogWatch(
                registry, worker_id, f"http://{settings.host}:{settings.port}", settings.catalog_poll_s
            )
            journal = Journal(settings.state_dir / "journal", worker_id)
            shipper = Shipper(journal, registry.ledger)
            controller = _controller(registry, watch, settings)
            self.house = House(
                settings=settings,
                caps=Caps(),
                catalog=watch,
                fleet=controller,
                admission=Admission(settings.max_in_flight, settings.max_in_flight_per_tenant),
                journal=journal,
                metrics=Metrics(),
            )
            _mount(web, self.house, controller)
            shipper.start()
            tasks = [asyncio.create_task(watch.run(controller.wake)), asyncio.create_task(controller.run())]
            for task in tasks:
                task.add_done_callback(_say_why_it_ended)
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await controller.close()
                await asyncio.to_thread(shipper.stop)
                journal.close()
                with contextlib.suppress(Exception):
                    registry.workers.leave(worker_id)


def _controller(registry: Registry, watch: CatalogWatch, settings: GatewaySettings) -> Controller:
    base = declared_base(registry, settings.engine_base)
    zero_adapter: Path = write_zero_adapter(
        settings.adapter_cache_dir / f"zero-{base.digest.removeprefix('sha256:')[:16]}", base.spec
    )
    engines = [
        ManagedEngine(
            EngineDeclaration(
                url.rstrip("/"),
                base.digest,
                settings.engine_platform,
                settings.engine_max_cpu_loras,
                settings.engine_api_key,
            )
        )
        for url in settings.engines
    ]
    return Controller(
        engines,
        registry,
        lambda: watch.current,
        {base.digest: zero_adapter},
        ControllerSettings(
            check_interval_s=settings.engine_check_s,
            reconcile_interval_s=5 * settings.engine_check_s,
            retire_after_s=settings.retire_after_s,
            drain_timeout_s=settings.drain_timeout_s,
        ),
    )


def declared_base(registry: Registry, name: str | None) -> BaseInfo:
    """The base that the engines are said to serve. Raises `InvalidInput` when it cannot be told."""
    if name is not None:
        return registry.bases.get(name)
    known = registry.bases.all()
    if len(known) == 1:
        return known[0]
    raise InvalidInput(
        f"{len(known)} base models are registered; say which one the engines serve with SWITCHYARD_ENGINE_BASE "
        "(register one with `switchyard base register NAME FOLDER`)",
        param="engine_base",
    )


def _say_why_it_ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.critical("a background task ended; the gateway must be restarted", exc_info=task.exception())


def _mount(web: FastAPI, house: House, controller: Controller) -> None:
    web.include_router(models_router(house))

    @web.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """The process runs."""
        return {"status": "ok"}

    @web.get("/readyz", tags=["health"])
    async def readyz() -> JSONResponse:
        """200 when at least one engine takes traffic; 503 with every engine's fault otherwise."""
        ready = any(engine.base_name is not None for engine in controller.view().engines)
        engines = {engine.url: engine.fault or "ok" for engine in controller.engines}
        content = {"ready": ready, "catalog_revision": house.catalog.current.revision, "engines": engines}
        return JSONResponse(content, status_code=200 if ready else 503)

    @web.get("/metrics", tags=["health"])
    async def metrics() -> Response:
        """Prometheus text format."""
        for engine in controller.engines:
            house.metrics.engine_up.labels(engine.url).set(engine.healthy)
            house.metrics.resident.labels(engine.url).set(len(engine.resident))
        house.metrics.catalog_revision.set(house.catalog.current.revision)
        return Response(house.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _describe_inference(web: FastAPI) -> None:
    """Put the two routes that never reach FastAPI into its /docs."""
    made_by_fastapi = web.openapi

    def openapi() -> dict[str, Any]:
        schema = made_by_fastapi()
        for path, endpoint in PATHS.items():
            schema["paths"][path] = {
                "post": {
                    "tags": ["inference"],
                    "summary": f"OpenAI's {endpoint} endpoint, streamed or not",
                    "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}, "required": True},
                    "responses": {"200": {"description": "OpenAI's answer; `model` is the version that answered"}},
                }
            }
        return schema

    web.openapi = openapi  # type: ignore[method-assign]


def _translate_errors(web: FastAPI) -> None:
    """The one place where errors of FastAPI's routes become OpenAI's envelope."""

    @web.exception_handler(ApiError)
    async def on_api_error(_request: Request, error: ApiError) -> Response:
        headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s is not None else {}
        return Response(error.envelope(), error.status, headers, "application/json")

    @web.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {error.detail}. See /docs for what is served."
        body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": "unknown_url"}}
        return JSONResponse(body, error.status_code, error.headers)
