"""What every page works with: who asks, the API with that key, templates, answers to orders."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import BaseRoute, Route

from dashboard.components.tables import LIVE
from dashboard.faults import Fault, LoggedOut
from dashboard.gateway_api import GatewayApi, KeyedApi, Waited
from dashboard.sessions import Flash, Role, Session, Sessions
from dashboard.settings import DashboardSettings

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "switchyard-theme"
LIVE_SHARE = 0.01
"""Of the time, the most that a page which keeps itself up to date may have the gateway work; `app.js` divides it among
the page's parts.
"""
LIVE_AFTER = "live-after-s"
"""Header of a live part: if it was all of its page, it would not be asked for again before so many seconds are over."""
View = Callable[[Request], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Page:
    """One entry of the navigation, with all routes below it."""

    path: str
    title: str
    icon: str
    """Id of a drawing in `static/icons.svg`."""
    routes: Sequence[BaseRoute]
    place: int = 0
    """In the navigation, the lowest first."""
    roles: tuple[Role, ...] = ("read", "operate")
    """Who sees it; an operator's page or a tenant's."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """What the process has: one of each."""

    settings: DashboardSettings
    sessions: Sessions
    admin: GatewayApi
    serving: GatewayApi
    templates: Environment
    pages: Sequence[Page]


def dashboard_of(request: Request) -> Dashboard:
    """The process's own."""
    found: Dashboard = request.app.state.dashboard
    return found


def session_of(request: Request) -> Session:
    """Who asks. Raises `LoggedOut`."""
    session: Session | None = request.scope.get("session")
    if session is None:
        raise LoggedOut("Nobody is logged in here.", "Log in with an operator's key.")
    return session


def admin_of(request: Request) -> KeyedApi:
    """`/admin/v1` with the session's key: `await admin_of(request).get("/fleet")`."""
    return dashboard_of(request).admin.of(session_of(request).person.key, _waited(request))


def serving_of(request: Request) -> KeyedApi:
    """`/v1` with the session's key, which is a tenant's on its own pages."""
    return dashboard_of(request).serving.of(session_of(request).person.key, _waited(request))


def _waited(request: Request) -> Waited:
    """For the gateway, while this page is made."""
    if not hasattr(request.state, "waited"):
        request.state.waited = Waited()
    found: Waited = request.state.waited
    return found


def actor_of(request: Request) -> str:
    """Who orders, as orders name it."""
    return session_of(request).person.name


def render(request: Request, template: str, *, status: int = 200, **view: Any) -> HTMLResponse:
    """A whole page. Templates have what `view` says, and `path`, `session`, `may_operate`, `pages`, `theme`, `now_ms`,
    `live_url` (where the page's live part is) and `flashes`.
    """
    session: Session | None = request.scope.get("session")
    flashes = list(session.flashes) if session is not None else []
    if session is not None:
        session.flashes.clear()
    return _response(request, template, status, {**view, "flashes": flashes, **_always(request, session)})


def fragment(request: Request, template: str, *, status: int = 200, **view: Any) -> HTMLResponse:
    """A part of a page, for `data-live`. What takes long to be made is to be asked for seldom."""
    view = {**view, "flashes": [], **_always(request, session_of(request))}
    response = _response(request, template, status, view)
    response.headers[LIVE_AFTER] = f"{_waited(request).s / LIVE_SHARE:.1f}"
    return response


def shown(path: str, template: str, view: View) -> list[Route]:
    """Routes of a page and of its live part, both of what `view` returns.

    `NAME.html` is the page and `NAME_live.html` the part, which the page has in it: `{% import "parts/live.html" %}`.
    """
    live_template = template.removesuffix(".html") + "_live.html"

    async def whole(request: Request) -> HTMLResponse:
        return render(request, template, **await view(request))

    async def live(request: Request) -> HTMLResponse:
        return fragment(request, live_template, **await view(request))

    return [Route(path, whole), Route((path.rstrip("/") or "") + LIVE, live)]


def done(request: Request, to: str, text: str) -> RedirectResponse:
    """After an order: the page `to`, which says once what was done."""
    return told(request, to, Flash(text))


def told(request: Request, to: str, flash: Flash) -> RedirectResponse:
    """The page `to` of ours, which says something once."""
    session_of(request).flashes.append(flash)
    return RedirectResponse(own_path(to), status_code=303)


def fault_told(request: Request, to: str, fault: Fault) -> RedirectResponse:
    """The same of an order that went wrong."""
    return told(request, to, Flash(str(fault), "fault", fault.remedy))


def own_path(address: str) -> str:
    """An address within the dashboard, whatever it is given: nobody's link sends a person elsewhere."""
    parts = urlsplit(address)
    path = parts.path if parts.path.startswith("/") and not parts.path.startswith(("//", "/\\")) else "/"
    query = f"?{parts.query}" if parts.query else ""
    return f"{path}{query}#{parts.fragment}" if parts.fragment else path + query


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, without space around them; of one that is given twice the last."""
    async with request.form(max_files=0, max_fields=200) as form:
        return {name: value.strip() for name, value in form.items() if isinstance(value, str)}


def wants_part(request: Request) -> bool:
    """Whether a script asks, for a part of a page."""
    return request.url.path.endswith(LIVE) or request.headers.get("sec-fetch-dest") == "empty"


def theme_of(request: Request) -> Literal["auto", "light", "dark"]:
    """What the person has chosen."""
    theme = request.cookies.get(THEME_COOKIE, "auto")
    return theme if theme in THEMES else "auto"  # type: ignore[return-value]


def here_of(request: Request) -> str:
    """The page's own address; of a live part, that of its page."""
    path, query = request.url.path.removesuffix(LIVE) or "/", request.url.query
    return f"{path}?{query}" if query else path


def _always(request: Request, session: Session | None) -> dict[str, Any]:
    here, query = here_of(request), request.url.query
    path = here.partition("?")[0]
    role = session.person.role if session is not None else None
    return {
        "path": path,
        "here": here,
        "live_url": f"{path.rstrip('/')}{LIVE}" + (f"?{query}" if query else ""),
        "session": session,
        "may_operate": session is not None and session.may_operate,
        "pages": [page for page in dashboard_of(request).pages if role in page.roles],
        "theme": theme_of(request),
        "now_ms": time.time() * 1000,
        "gateway_url": dashboard_of(request).admin.url,
    }


def _response(request: Request, template: str, status: int, view: Mapping[str, Any]) -> HTMLResponse:
    text = dashboard_of(request).templates.get_template(template).render(view)
    return HTMLResponse(text, status_code=status, headers={"cache-control": "no-store"})
