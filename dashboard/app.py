"""The application: pages, login and files behind the guard; and what becomes of faults."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from dashboard.faults import Fault, LoggedOut, Missing
from dashboard.gateway_api import CONNECTIONS, GatewayApi
from dashboard.guard import Guard
from dashboard.login import ROUTES, end_sessions_of
from dashboard.pages import PAGES
from dashboard.sessions import Sessions
from dashboard.settings import DashboardSettings
from dashboard.templating import STATIC, Assets, templates
from dashboard.web import Dashboard, Page, fault_told, here_of, own_path, render, wants_part

CONNECT_TIMEOUT_S = 2.0
AGAIN_S = 5
"""A page that could not be shown as the gateway is away asks again after so long."""
log = logging.getLogger("dashboard")


def make_app(settings: DashboardSettings, pages: Sequence[Page] = PAGES, *more_templates: Path) -> Starlette:
    """The dashboard of one gateway. Its client lives as long as the application does (lifespan).

    `more_templates` are folders, for pages that are not among ours.
    """
    http = httpx.AsyncClient(
        timeout=httpx.Timeout(settings.dashboard_timeout_s, connect=CONNECT_TIMEOUT_S),
        limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS // 2),
        trust_env=False,  # keys are for no proxy
    )
    admin_url, serving_url = settings.dashboard_admin_url, settings.serving_url
    dashboard = Dashboard(
        settings=settings,
        sessions=Sessions(settings.dashboard_session_hours * 3600, settings.dashboard_link_minutes * 60),
        admin=GatewayApi(http, admin_url, f"{admin_url}/admin/v1"),
        serving=GatewayApi(http, serving_url, f"{serving_url}/v1"),
        templates=templates(*more_templates),
        pages=pages,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with http:
            yield

    app = Starlette(
        routes=[
            *(route for page in pages for route in page.routes),
            *ROUTES,
            Route("/healthz", healthy),
            Route("/favicon.ico", favicon),
            Mount("/static", Assets(directory=STATIC)),
        ],
        middleware=[
            Middleware(Guard, sessions=dashboard.sessions, tell=tell, allowed_hosts=settings.dashboard_allowed_hosts)
        ],
        exception_handlers={Fault: on_fault, HTTPException: on_http},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # it would send people to whatever host they have named
    app.state.dashboard = dashboard
    return app


async def healthy(_: Request) -> Response:
    """That this process lives; of the gateway it says nothing."""
    return PlainTextResponse("ok")


async def favicon(_: Request) -> Response:
    """Where browsers look without being told."""
    return RedirectResponse("/static/favicon.svg", status_code=308)


async def on_fault(request: Request, fault: Exception) -> Response:
    """What a page could not show, or an order did not do."""
    assert isinstance(fault, Fault)
    session = request.scope.get("session")
    if isinstance(fault, LoggedOut):
        if session is not None:
            end_sessions_of(request)
        if wants_part(request):
            return PlainTextResponse(str(fault), 401)
        return RedirectResponse(f"/login?to={quote(request.url.path, safe='')}", status_code=303)
    if wants_part(request):
        return PlainTextResponse(f"{fault} {fault.remedy}".strip(), fault.status)
    if request.method != "GET" and fault.status != 403 and session is not None:
        return fault_told(request, request.headers.get("referer", "/"), fault)
    return _error_page(request, fault)


async def on_http(request: Request, error: Exception) -> Response:
    """An address that no page has."""
    assert isinstance(error, HTTPException)
    if error.status_code in (404, 405):
        fault = Missing(f"The dashboard has no page {request.url.path}.", "Begin with the overview.")
        return PlainTextResponse(str(fault), 404) if wants_part(request) else _error_page(request, fault)
    return PlainTextResponse(str(error.detail), error.status_code, headers=dict(error.headers or {}))


async def tell(request: Request, error: Exception) -> Response:
    """What the guard found, or a mistake of ours: of the page, and of no other."""
    if isinstance(error, Fault):
        return await on_fault(request, error)
    log.error("page %r", request.url.path, exc_info=error)
    fault = Fault("The dashboard could not make this page: a mistake of its own.", "Its log says where.")
    fault.status = 500
    return PlainTextResponse(str(fault), 500) if wants_part(request) else _error_page(request, fault)


def _error_page(request: Request, fault: Fault) -> Response:
    looks = request.method in ("GET", "HEAD")
    return render(
        request,
        "error.html",
        status=fault.status,
        title=fault.title,
        text=str(fault),
        remedy=fault.remedy,
        again=here_of(request) if looks else own_path(request.headers.get("referer", "/")),
        again_s=AGAIN_S if looks and fault.status in (502, 503) else None,
    )
