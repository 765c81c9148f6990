"""What only the operator may see: metrics, details of readiness, the API's description.

They are on the operator's own listener, if the settings name one, and then nowhere else. Without one they are where
clients are served, and take the operator's key: from metrics, one tenant could read the requests of another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from gateway.api.admin.auth import AdminGate
from gateway.api.description import page
from gateway.background import Background
from gateway.fleet.worker import FleetWorker
from gateway.house import House
from gateway.metrics.exposition import exposition
from gateway.own_samples import own_samples

NOT_KEPT = {"cache-control": "no-store"}
PAGE_MAY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""What a browser may do with the description: nothing but show it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How the process itself stands."""

    background: Background
    duties: Callable[[], Mapping[str, str | None]]
    """What the leader's duties raised, by name; nothing where another process leads."""
    leaving: Callable[[], bool]
    """Whether it is about to stop."""

    def works(self) -> dict[str, str | None]:
        """Of everything that goes on in the background, what ended it or failed last; `None` when it goes well."""
        return {**self.background.faults(), **{f"leader_{name}": fault for name, fault in self.duties().items()}}


def operators_router(web: FastAPI, house: House, worker: FleetWorker, gate: AdminGate, standing: Standing) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["health"])
    operator = [Depends(gate.admit)]

    @router.get("/readyz")
    async def readyz(request: Request) -> JSONResponse:
        """200 when at least one engine takes traffic, else 503, and while the gateway is about to stop; to the operator
        also every engine's fault, and what ended work in the background that has only just begun again.
        """
        leaving = standing.leaving()
        served = any(engine.status.base_name is not None for engine in worker.view().engines)
        ready = served and not house.catalog.lapsed and not leaving
        content = {
            "ready": ready,
            **({"stopping": True} if leaving else {}),
            **(_details(house, worker, standing.works()) if gate.knows(request) else {}),
        }
        return JSONResponse(content, status_code=200 if ready else 503, headers=NOT_KEPT)

    @router.get("/metrics", dependencies=operator)
    async def metrics() -> Response:
        """Prometheus text format, of all workers of the gateway whichever answers, and of the fleet. While nobody leads
        there is only what the worker that answers knows without adding up.
        """
        told = await house.telling.samples()
        samples = {**(told or {}), **own_samples(house, worker)}
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(exposition(samples), media_type=kind, headers=NOT_KEPT)

    @router.get("/openapi.json", dependencies=operator, include_in_schema=False)
    async def openapi() -> JSONResponse:
        return JSONResponse(web.openapi(), headers=NOT_KEPT)

    @router.get("/docs", dependencies=operator, include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(web.openapi()), headers={"content-security-policy": PAGE_MAY, **NOT_KEPT})

    return router


def _details(house: House, worker: FleetWorker, works: Mapping[str, str | None]) -> dict[str, Any]:
    states = worker.states()
    engines = {}
    declared = worker.engines() if worker.informed.is_set() else house.settings.declared_engines()
    for url in [engine.url for engine in declared]:
        state, fault, _ = states.get(url, ("new", "not contacted yet", 0))
        engines[url] = "ok" if state == "up" else f"{state}: {fault}" if fault else state
    return {
        "catalog_revision": house.catalog.current.revision,
        "controller": "linked" if worker.link.linked else "away",
        "limits": house.limits.state,
        "engines": engines,
        "background": {name: fault or "ok" for name, fault in works.items()},
    }
